from __future__ import annotations

import base64
import dataclasses
import re
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from motivnet import strict_json
from motivnet.checkpoints import load_model
from motivnet.config import ModelConfig
from motivnet.datasets.published import published_results
from motivnet.datasets.read import read_dataset
from motivnet.datasets.sample import Dataset, GreyPixels, Sample
from motivnet.errors import CheckpointError
from motivnet.images import read_image
from motivnet.labels import EMOTIONS
from motivnet.model import build_model
from motivnet.model.runtime import TorchRuntime
from motivnet.preprocess import InputRecipe
from motivnet.printable import printable
from motivnet.synthetic import draw_face
from motivnet.terminal import show
from motivnet_bench.viability.html import html_from_criteria
from motivnet_bench.viability.images import FedModel, embeddings_of, image_files
from motivnet_bench.viability.measure import CriteriaOptions, measure_criteria
from motivnet_bench.viability.performance import measure_performance, standings
from motivnet_bench.viability.result import CriteriaResult
from motivnet_bench.viability.rows import verdicts
from motivnet_bench.viability.terminal import criteria_table
from motivnet_export.source import model_source

HOSTILE = '<script>alert("1")</script> & $title$ [red] [/x] \x1b[2J\x9b2J\u202e\nsecond line'
CLASSES = ("neutral", "happiness", "anger")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Three classes of four faces."""
    folder = tmp_path_factory.mktemp("faces")
    for label in CLASSES:
        (folder / label).mkdir()
        for index in range(4):
            face = draw_face(label, seed=index, size=(64, 48))
            cv2.imwrite(
                str(folder / label / f"{index}.png"), np.ascontiguousarray(face[:, :, ::-1])
            )
    return folder


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Ten images without a face and without a label, one of them broken, and a text."""
    folder = tmp_path_factory.mktemp("noise")
    random = np.random.default_rng(0)
    for index in range(10):
        cv2.imwrite(str(folder / f"{index}.png"), random.integers(0, 255, (40, 30, 3), np.uint8))
    (folder / "3.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture(scope="module")
def source(tiny_checkpoint):
    return model_source(tiny_checkpoint, model=None, preprocess=None)


@pytest.fixture(scope="module")
def result(tiny_checkpoint, faces, noise) -> CriteriaResult:
    options = CriteriaOptions(
        tests=(faces,),
        encoder=tiny_checkpoint,
        data=faces,
        reference=noise,
        resamples=20,
        batch=5,
        device="cpu",
    )
    return measure_criteria(
        model_source(tiny_checkpoint, model=None, preprocess=None), options, command="again"
    )


@pytest.fixture(scope="module")
def fed(tiny_checkpoint, tiny_config):
    runtime = TorchRuntime(load_model(tiny_checkpoint), config=tiny_config)
    return FedModel(runtime=runtime, recipe=InputRecipe.named("stretch", size=(128, 96)), batch=4)


def test_accuracy_is_what_scikit_learn_says_of_the_model(result, fed, faces):
    truth, predicted = [], []
    for label in CLASSES:
        for path in sorted((faces / label).iterdir()):
            logits = fed.runtime.run({"image": fed.recipe(read_image(path))[None]})["logits"]
            truth.append(result.labels.index(label))
            predicted.append(int(logits.argmax()))
    [performance] = result.performance
    assert performance.figures.images == 12
    assert performance.figures.accuracy == pytest.approx(accuracy_score(truth, predicted))


def test_embeddings_are_the_models_for_each_image_that_can_be_read(fed, noise):
    found = embeddings_of(fed, noise, image_files(noise))
    assert list(found.unreadable) == ["3.png"]
    assert found.values.shape == (9, 96)
    last = fed.runtime.run({"image": fed.recipe(read_image(noise / "9.png"))[None]})["embedding"]
    assert found.values[-1] == pytest.approx(last[0], abs=1e-5)


def test_a_run_has_all_three_criteria(result, noise):
    assert result.model is not None
    assert result.model.bit_equal == 1.0
    assert result.data is not None
    assert (result.data.data.images, result.data.reference.images, result.data.dimensions) == (
        12,
        9,
        96,
    )
    assert list(result.data.reference.unreadable) == ["3.png"]
    assert result.data.frechet.value > result.data.mean_distance > 0
    assert 0 < result.data.alignment.value < 1


def test_fewer_images_than_dimensions_are_warned_of(result):
    warnings = [warning for warning in result.data.warnings if "singular" in warning]
    assert len(warnings) == 2
    assert all("biased upwards" in warning for warning in warnings)


def test_a_folder_beside_itself_is_at_distance_0(source, faces):
    found = measure_criteria(
        source, CriteriaOptions(data=faces, reference=faces, resamples=20, device="cpu")
    )
    assert found.data is not None
    assert found.data.frechet.value == pytest.approx(0.0, abs=1e-9)
    assert found.data.alignment.value == pytest.approx(1.0)
    assert (found.performance, found.model) == ((), None)


def test_the_same_run_gives_the_same_intervals(result, tiny_checkpoint, faces, noise):
    options = CriteriaOptions(data=faces, reference=noise, resamples=20, batch=5, device="cpu")
    again = measure_criteria(model_source(tiny_checkpoint, model=None, preprocess=None), options)
    assert again.data == result.data


def test_votes_make_the_loss_and_not_the_accuracy(fed):
    grey = GreyPixels(data=bytes(range(64)), size=(8, 8))
    votes = (0.5, 0.25, 0.25, 0.0, 0.0, 0.0, 0.0)
    labels = tuple(f"class_{index}" for index in range(7))

    def performance(distribution):
        sample = Sample(name="1", image=grey, label=0, distribution=distribution)
        dataset = Dataset(layout="FER+", root=fed.recipe, labels=labels, samples=(sample,))  # type: ignore[arg-type]
        return measure_performance(fed, "votes", dataset, whole=True).figures

    logits = fed.runtime.run(
        {"image": fed.recipe(np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8, 1), 3, 2))[None]}
    )
    shifted = logits["logits"][0].astype(float)
    logarithms = shifted - np.log(np.exp(shifted).sum())
    assert performance(votes).loss == pytest.approx(-(np.array(votes) * logarithms).sum())
    assert performance(None).loss == pytest.approx(-logarithms[0])
    assert performance(votes).accuracy == performance(None).accuracy


@pytest.mark.parametrize(
    ("layout", "accuracy", "place", "range_"),
    [
        ("class folders", 0.50, "below", (0.5387, 0.80)),
        ("class folders", 0.5387, "within", (0.5387, 0.80)),
        ("class folders", 0.81, "above", (0.5387, 0.80)),
        ("FER2013", 0.54, "above", (0.5387, 0.5387)),
        ("AffectNet (CSV lists)", 0.60, "within", (0.5749, 0.6252)),
    ],
)
def test_a_figure_is_placed_among_those_of_the_same_data_or_all(
    result, layout, accuracy, place, range_
):
    figures = dataclasses.replace(result.performance[0].figures, accuracy=accuracy)
    standing = standings(figures, published_results(layout))["accuracy"]
    assert (standing.place, (standing.lowest, standing.highest)) == (place, range_)
    assert standing.same_data is (layout != "class folders")


def test_a_figure_that_ours_do_not_have_is_not_placed(result):
    figures = dataclasses.replace(result.performance[0].figures, auroc=None)
    assert "auroc" not in standings(figures, published_results())


def test_a_part_of_a_dataset_is_other_data(faces):
    eight = ModelConfig.named("tiny", num_classes=8)
    fed = FedModel(
        runtime=TorchRuntime(build_model(eight), config=eight),
        recipe=InputRecipe.named("stretch", size=(128, 96)),
        batch=4,
    )
    read = read_dataset(faces, labels=EMOTIONS, limit=1)
    dataset = dataclasses.replace(read, layout="AffectNet (CSV lists)", part="test")
    same = [
        any(
            each.same_data
            for each in measure_performance(fed, "x", each_dataset, whole=whole).published
        )
        for each_dataset, whole in (
            (dataset, True),
            (dataset, False),
            (dataclasses.replace(dataset, part=None), True),
        )
    ]
    assert same == [True, False, False]


def test_there_is_a_verdict_for_each_criterion(result, faces):
    first, second, third = verdicts(result)
    assert first.startswith(
        f"Accuracy {result.performance[0].figures.accuracy:.2%} on {faces.name}: below the published"
    )
    assert "of the parameters" in second
    assert "Frechet distance" in third


@pytest.fixture(scope="module")
def hostile(result):
    """The result with a hostile text in every place where text can come from outside."""
    performance = dataclasses.replace(
        result.performance[0], dataset=HOSTILE, unreadable={HOSTILE: HOSTILE}, skipped={HOSTILE: 1}
    )
    data = dataclasses.replace(
        result.data,
        data=dataclasses.replace(result.data.data, folder=HOSTILE, unreadable={HOSTILE: HOSTILE}),
    )
    model = dataclasses.replace(result.model, encoder=HOSTILE)
    return dataclasses.replace(
        result,
        checkpoint=HOSTILE,
        command=HOSTILE,
        performance=(performance,),
        data=data,
        model=model,
    )


def test_hostile_texts_are_shown_and_not_run(hostile, page_of):
    page = page_of(html_from_criteria(hostile))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(printable(HOSTILE)) >= 10
    assert html_from_criteria(hostile).replace("\n", "").isprintable()


def test_a_page_asks_for_nothing_outside_itself(hostile, page_of):
    text = html_from_criteria(hostile)
    addresses = [
        value
        for _, each in page_of(text).tags
        for name, value in each.items()
        if name in ("src", "href")
    ]
    assert addresses
    assert all(address.startswith("data:image/svg+xml;base64,") for address in addresses)
    assert "url(" not in text


def test_the_plots_are_svg_and_the_same_result_gives_the_same_page(result):
    page = html_from_criteria(result)
    images = re.findall(r"base64,([^\"]+)", page)
    assert len(images) == 2
    assert all(
        ElementTree.fromstring(base64.b64decode(image)).tag.endswith("svg") for image in images
    )
    assert html_from_criteria(result) == page


def test_a_criterion_that_was_not_asked_for_has_no_section(result):
    page = html_from_criteria(dataclasses.replace(result, model=None, performance=()))
    assert "3. Data similarity" in page
    assert "1. Benchmark" not in page
    assert "2. Model" not in page


def test_a_terminal_shows_hostile_texts_as_they_are(hostile, capsys):
    show(criteria_table(hostile))
    shown = capsys.readouterr().out
    assert printable(HOSTILE) in shown
    assert shown.replace("\n", "").isprintable()


def test_a_result_comes_back_the_same_from_its_json(result):
    assert strict_json.build(CriteriaResult, strict_json.loads(strict_json.dumps(result))) == result


@pytest.mark.parametrize("limit", [None, 2])
def test_one_of_the_two_published_parts_is_not_the_published_dataset(source, tmp_path, limit):
    rows = "\n".join(
        f"{label},{' '.join(['7'] * 48 * 48)},PrivateTest" for label in (0, 0, 0, 3, 3, 3)
    )
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels,Usage\n{rows}\n")
    found = measure_criteria(source, CriteriaOptions(tests=(tmp_path,), limit=limit, device="cpu"))
    [performance] = found.performance
    assert performance.layout == "FER2013"
    assert not performance.standings["accuracy"].same_data


def test_an_encoder_alone_is_not_judged(source, faces):
    alone = dataclasses.replace(source, fresh_head=True)
    with pytest.raises(CheckpointError, match="holds an encoder alone"):
        measure_criteria(alone, CriteriaOptions(tests=(faces,)))
