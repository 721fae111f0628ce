"""What a training leaves, through the exporter to every runtime of a CPU: the same answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from motivnet.config import ModelConfig
from motivnet.labels import EMOTIONS
from motivnet.preprocess import Preprocessing
from motivnet.synthetic import draw_face
from motivnet_bench.accuracy import AccuracyResult, measure_accuracy
from motivnet_bench.target import target_from_artifact
from motivnet_export.build import build_artifact
from motivnet_export.request import BuildRequest
from motivnet_training.devices import Devices
from motivnet_training.fit import fit
from motivnet_training.fit_request import FitRequest
from motivnet_training.recipe import RECIPES, TrainingRecipe, change_recipe

RUNTIMES = ("pytorch", "onnxruntime", "openvino")
TINY = ModelConfig.named("tiny")
"""Its size is told by the shapes of the published file, which has nothing else to tell it."""


def request(data: Path, out: Path, recipe: TrainingRecipe) -> FitRequest:
    return FitRequest(
        config=TINY,
        data=data,
        out=out,
        recipe=recipe,
        preprocess=Preprocessing.named("stretch", size=TINY.encoder.image_size),
        devices=Devices(device="cpu"),
        published=True,
    )


def write_faces(root: Path, *, of_each: int, seed: int) -> None:
    for emotion in EMOTIONS[:7]:
        (root / emotion).mkdir(parents=True)
        for number in range(of_each):
            face = draw_face(emotion, seed=seed + number, size=(40, 30))
            cv2.imwrite(
                str(root / emotion / f"{number}.png"), np.ascontiguousarray(face[:, :, ::-1])
            )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    write_faces(root / "faces", of_each=10, seed=1000)
    fit(
        request(
            root / "faces", root / "run", change_recipe(RECIPES["scratch"], epochs=4, batch_size=8)
        )
    )
    return root / "run"


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("held_out")
    write_faces(root, of_each=58, seed=0)  # 406 images
    return root


def measured(checkpoint: Path, artifact: Path, faces: Path) -> AccuracyResult:
    """The figures of an artifact that is built from no more than the file."""
    build_artifact(BuildRequest(checkpoint=checkpoint, out=artifact, precision="fp16"))
    return measure_accuracy(
        target_from_artifact(artifact, checkpoint=checkpoint), faces, runtimes=RUNTIMES, threads=1
    )


def check_agreement(result: AccuracyResult) -> None:
    """At most one image in 400 more or fewer is right, and every image in dispute is listed."""
    by_runtime = {entry.runtime: entry.metrics for entry in result.runtimes}
    assert tuple(by_runtime) == RUNTIMES
    reference = by_runtime["pytorch"]
    for name, figures in by_runtime.items():
        difference = round(abs(figures.accuracy - reference.accuracy) * reference.images)
        assert difference <= max(1, reference.images // 400), (name, result.flips)
        moved = np.abs(np.subtract(figures.confusion, reference.confusion)).sum()
        assert moved <= 2 * len(result.flips)


@pytest.mark.parametrize("name", ["best.safetensors", "MotivNet.pth"])
def test_every_runtime_gives_the_accuracy_of_the_checkpoint(
    run: Path, held_out: Path, tmp_path: Path, name: str
) -> None:
    result = measured(run / name, tmp_path / "artifact", held_out)
    check_agreement(result)
    assert result.labels == EMOTIONS[:7]
    named = np.asarray(result.runtimes[0].metrics.confusion).sum(axis=0)
    assert (named > 0).sum() >= 4, "the model gives various answers"


@pytest.fixture
def all_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("all_cores")
def test_the_default_training_on_the_shared_expressions_reaches_every_runtime(
    shared_dir: Path, tmp_path: Path
) -> None:
    data = shared_dir / "data" / "expressions"
    trained = fit(request(data, tmp_path / "run", RECIPES["scratch"]))
    assert trained.validation.accuracy >= 0.75
    result = measured(tmp_path / "run" / "best.safetensors", tmp_path / "artifact", data / "val")
    check_agreement(result)
    assert result.runtimes[0].metrics.accuracy == pytest.approx(
        trained.validation.accuracy, abs=1 / 350
    )
