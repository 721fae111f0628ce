from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from motivnet.config import ModelConfig
from motivnet.datasets.read import read_dataset
from motivnet.datasets.sample import Dataset, RawPixels, Sample
from motivnet.images import read_image
from motivnet.labels import EMOTIONS
from motivnet.metrics import published_results
from motivnet.model import build_model
from motivnet.model.runtime import TorchRuntime
from motivnet_bench.viability.measure import ViabilityOptions, measure_viability
from motivnet_bench.viability.performance import compare_with_published, measure_performance


def test_accuracy_is_what_scikit_learn_says_of_the_model(viability_result, model, faces):
    truth, predicted = [], []
    for path in sorted(faces.rglob("*.png")):
        image = model.preprocessing(read_image(path))[None]
        truth.append(viability_result.labels.index(path.parent.name))
        predicted.append(int(model.runtime.run({"image": image})["logits"].argmax()))
    [performance] = viability_result.performance
    assert performance.metrics.images == 12
    assert performance.metrics.accuracy == pytest.approx(accuracy_score(truth, predicted))


def test_votes_make_the_loss_and_not_the_accuracy(model):
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    grey = RawPixels(data=pixels.tobytes(), size=(8, 8))
    votes = (0.5, 0.25, 0.25, 0.0, 0.0, 0.0, 0.0)
    labels = tuple(f"class_{index}" for index in range(7))

    def metrics(distribution):
        sample = Sample(name="1", image=grey, label=0, distribution=distribution)
        dataset = Dataset(format="FER+", root=None, labels=labels, samples=(sample,))
        return measure_performance(model, "votes", dataset, whole=True).metrics

    image = model.preprocessing(np.repeat(pixels[:, :, None], 3, axis=2))[None]
    logits = model.runtime.run({"image": image})["logits"][0].astype(float)
    logarithms = logits - np.log(np.exp(logits).sum())
    assert metrics(votes).loss == pytest.approx(-(np.array(votes) * logarithms).sum())
    assert metrics(None).loss == pytest.approx(-logarithms[0])
    assert metrics(votes).accuracy == metrics(None).accuracy


@pytest.mark.parametrize(
    ("dataset_format", "accuracy", "place", "range_"),
    [
        ("class folders", 0.50, "below", (0.5387, 0.80)),
        ("class folders", 0.5387, "within", (0.5387, 0.80)),
        ("class folders", 0.81, "above", (0.5387, 0.80)),
        ("FER2013", 0.54, "above", (0.5387, 0.5387)),
        ("AffectNet (CSV lists)", 0.60, "within", (0.5749, 0.6252)),
    ],
)
def test_a_metric_is_compared_with_those_of_the_same_data_or_all(
    viability_result, change, dataset_format, accuracy, place, range_
):
    metrics = change(viability_result.performance[0].metrics, accuracy=accuracy)
    standing = compare_with_published(metrics, published_results(dataset_format))["accuracy"]
    assert (standing.place, (standing.lowest, standing.highest)) == (place, range_)
    assert standing.same_data is (dataset_format != "class folders")


def test_a_metric_that_ours_do_not_have_is_not_compared(viability_result, change):
    metrics = change(viability_result.performance[0].metrics, auroc=None)
    assert "auroc" not in compare_with_published(metrics, published_results())


def test_a_part_of_a_dataset_is_other_data(faces, model, change):
    config = ModelConfig.named("tiny", num_classes=8)
    eight = change(model, runtime=TorchRuntime(build_model(config), config=config))
    read = read_dataset(faces, labels=EMOTIONS, limit=1)
    dataset = change(read, format="AffectNet (CSV lists)", split="test")

    def has_same_data(dataset: Dataset, *, whole: bool) -> bool:
        published = measure_performance(eight, "x", dataset, whole=whole).published
        return any(result.same_data for result in published)

    assert has_same_data(dataset, whole=True)
    assert not has_same_data(dataset, whole=False)
    assert not has_same_data(change(dataset, split=None), whole=True)


@pytest.mark.parametrize("limit", [None, 2])
def test_one_of_the_two_published_splits_is_not_the_published_dataset(source, tmp_path, limit):
    pixels = " ".join(["7"] * 48 * 48)
    rows = "\n".join(f"{label},{pixels},PrivateTest" for label in (0, 0, 0, 3, 3, 3))
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels,Usage\n{rows}\n")
    options = ViabilityOptions(tests=(tmp_path,), limit=limit, device="cpu")
    [performance] = measure_viability(source, options).performance
    assert performance.dataset_format == "FER2013"
    assert not performance.standings["accuracy"].same_data
