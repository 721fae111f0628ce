from __future__ import annotations

import shutil

import msgspec
import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from motivnet.checkpoints import load_model
from motivnet.datasets.sample import Sample
from motivnet.errors import ConfigError, DatasetError
from motivnet.images import read_image
from motivnet.model.runtime import TorchRuntime
from motivnet_bench.accuracy import find_flips, measure_accuracy

CLASSES = ("neutral", "happiness", "anger")


@pytest.fixture(scope="module")
def dataset(faces, tmp_path_factory):
    """Three classes of four faces, one of them cut off in the middle of its file."""
    folder = shutil.copytree(faces, tmp_path_factory.mktemp("dataset") / "faces")
    broken = folder / "anger" / "2.png"
    broken.write_bytes(broken.read_bytes()[:100])
    return folder


@pytest.fixture(scope="module")
def result(target, dataset):
    return measure_accuracy(target, dataset, runtimes=("pytorch", "onnxruntime"), threads=1)


def test_accuracy_equals_what_scikit_learn_says_of_the_model_itself(
    result, target, dataset, tiny_config
):
    runtime = TorchRuntime(load_model(target.checkpoint), config=tiny_config)
    preprocessing, truth, predicted = target.artifact.manifest.input.preprocessing, [], []
    for label in CLASSES:
        for path in sorted((dataset / label).iterdir()):
            if path.name == "2.png" and label == "anger":
                continue
            logits = runtime.run({"image": preprocessing(read_image(path))[None]})["logits"]
            truth.append(result.labels.index(label))
            predicted.append(int(logits.argmax()))
    assert [entry.runtime for entry in result.runtimes] == ["pytorch", "onnxruntime"]
    for entry in result.runtimes:
        assert entry.metrics.images == len(truth) == 11
        assert entry.metrics.accuracy == pytest.approx(accuracy_score(truth, predicted))


def test_pytorch_gets_the_whole_recipe_where_the_artifact_takes_pixels(
    result, target, dataset, change
):
    manifest = target.artifact.manifest
    entry = change(manifest.input, dtype="uint8")
    artifact = change(target.artifact, manifest=change(manifest, input=entry))
    of_pixels = measure_accuracy(change(target, artifact=artifact), dataset, runtimes=("pytorch",))
    assert of_pixels.runtimes[0].metrics == result.runtimes[0].metrics


def test_where_people_voted_the_loss_is_that_of_their_votes(target, tiny_config, tmp_path):
    emotions = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")
    votes = [(6, 0, 1, 0, 0, 0, 3), (0, 5, 4, 1, 0, 0, 0)]
    header = ",".join(("Usage", "Image name", *emotions, "contempt", "unknown", "NF"))
    rows = [
        f"PrivateTest,fer{i}.png,{','.join(map(str, counts))},0,0,0"
        for i, counts in enumerate(votes)
    ]
    (tmp_path / "fer2013new.csv").write_text("\n".join([header, *rows]))
    pictures = [f"0,{' '.join([str(40 * i)] * 2304)},PrivateTest" for i in range(2)]
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *pictures]))
    found = measure_accuracy(target, tmp_path, runtimes=("pytorch",), threads=1)

    runtime = TorchRuntime(load_model(target.checkpoint), config=tiny_config)
    preprocessing, losses = target.artifact.manifest.input.preprocessing, []
    for number, counts in enumerate(votes):
        image = preprocessing(np.full((48, 48, 3), 40 * number, np.uint8))[None]
        logits = runtime.run({"image": image})["logits"][0].astype(float)
        logarithms = dict(zip(found.labels, logits - np.log(np.exp(logits).sum()), strict=True))
        losses.append(
            -sum(n / 10 * logarithms[name] for name, n in zip(emotions, counts, strict=True))
        )
    assert found.dataset_format == "FER+"
    assert found.runtimes[0].metrics.loss == pytest.approx(np.mean(losses), rel=1e-5)


def test_an_unreadable_image_is_listed_with_its_reason(result):
    assert list(result.unreadable) == ["anger/2.png"]
    assert "2.png" in result.unreadable["anger/2.png"]
    assert sum(result.skipped.values()) == 1


def test_classes_without_images_are_named(result):
    assert set(result.runtimes[0].metrics.absent) == set(result.labels) - set(CLASSES)


def test_a_limit_is_one_of_each_class(target, dataset):
    found = measure_accuracy(target, dataset, runtimes=("onnxruntime",), limit=1, threads=1)
    rows = np.asarray(found.runtimes[0].metrics.confusion).sum(axis=1)
    assert rows.max() == 1
    assert rows.sum() == len(CLASSES)


def test_a_limit_below_one_is_refused(target, dataset):
    with pytest.raises(ConfigError, match="must be at least 1"):
        measure_accuracy(target, dataset, runtimes=("onnxruntime",), limit=0)


def test_flips_are_the_images_that_runtimes_label_differently(dataset):
    samples = [
        Sample(name=f"anger/{index}.png", image=dataset / f"anger/{index}.png", label=1)
        for index in (0, 1)
    ]
    by_runtime = {
        "pytorch": np.array([[0.1, 0.9], [0.2, 0.8]]),
        "openvino": np.array([[0.2, 0.8], [0.6, 0.4]]),
    }
    [flip] = find_flips(by_runtime, samples, labels=("neutral", "anger"))
    assert msgspec.to_builtins(flip) == {
        "image": "anger/1.png",
        "truth": "anger",
        "predicted": {"pytorch": "anger", "openvino": "neutral"},
    }


def test_a_folder_whose_images_are_all_broken_is_an_error(target, tmp_path):
    (tmp_path / "anger").mkdir()
    (tmp_path / "anger" / "0.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match="holds no image of a known class"):
        measure_accuracy(target, tmp_path, runtimes=("onnxruntime",))


def test_an_untrained_head_is_warned_of(target, dataset, change, caplog):
    manifest = target.artifact.manifest
    untrained = change(manifest, source=change(manifest.source, fresh_head=True))
    artifact = change(target.artifact, manifest=untrained)
    measure_accuracy(
        change(target, artifact=artifact), dataset, runtimes=("onnxruntime",), limit=1, threads=1
    )
    assert f"{artifact.folder} has an untrained head: its results mean nothing" in caplog.messages
