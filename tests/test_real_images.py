"""Photos and a folder of labelled faces through build, classifier and benchmark."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from motivnet.artifact import open_artifact
from motivnet.labels import labels_for
from motivnet_bench.accuracy import measure_accuracy
from motivnet_bench.latency.measure import Options, measure_latency
from motivnet_bench.target import target_from_artifact
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_export.build import build_artifact
from motivnet_export.request import BuildRequest

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def artifact(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, shared_dir: Path
) -> Path:
    """Built and compared on photos."""
    out = tmp_path_factory.mktemp("real") / "tiny"
    photos = shared_dir / "data" / "london"
    build_artifact(
        BuildRequest(
            checkpoint=tiny_checkpoint,
            out=out,
            precision="fp16",
            images=photos,
            num_images=6,
        )
    )
    return out


def test_parity_is_measured_on_photos(artifact: Path) -> None:
    parity = open_artifact(artifact).manifest.parity
    assert parity.passed
    assert (parity.images, parity.image_source) == (6, "images of london/")


def test_classifier_takes_every_photo(artifact: Path, shared_dir: Path) -> None:
    folder = shared_dir / "data" / "london"
    with (folder / "manifest.csv").open() as file:
        expected = len(list(csv.DictReader(file)))
    photos = sorted(folder.glob("*.jpg"))
    with EmotionClassifier.open(artifact) as classifier:
        predictions = classifier.predict(photos)
    assert len(predictions) == len(photos) == expected
    assert {prediction.label for prediction in predictions} <= set(labels_for(7))


def test_runtimes_agree_on_a_labelled_folder(
    artifact: Path, shared_dir: Path, tiny_checkpoint: Path
) -> None:
    subject = target_from_artifact(artifact, checkpoint=tiny_checkpoint)
    result = measure_accuracy(
        subject,
        shared_dir / "data" / "expressions" / "val",
        runtimes=("pytorch", "onnxruntime", "openvino"),
        limit=10,
    )
    assert result.skipped["the model has no class contempt"] == 50
    assert [len(row.metrics.confusion) for row in result.runtimes] == [7, 7, 7]
    assert len(result.flips) <= 1


def test_benchmark_takes_a_photo(artifact: Path, shared_dir: Path, tiny_checkpoint: Path) -> None:
    photo = shared_dir / "data" / "london" / "001_neutral.jpg"
    options = Options(rounds=1, seconds=0.05, runtimes=("onnxruntime",), image=photo)
    result = measure_latency(target_from_artifact(artifact, checkpoint=tiny_checkpoint), options)
    assert [row.error for row in result.candidates] == [None] * len(result.candidates)
