"""What a training says of its data in its result, its summary and its checkpoint."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from motivnet.checkpoints import load_checkpoint
from motivnet.config import ModelConfig
from motivnet.datasets.sample import Sample
from motivnet.labels import EMOTIONS
from motivnet.metrics import ClassificationMetrics
from motivnet.preprocess import Preprocessing
from motivnet.synthetic import draw_face
from motivnet_training.demo import draw_samples
from motivnet_training.devices import Devices
from motivnet_training.fit import fit
from motivnet_training.fit_request import FitRequest
from motivnet_training.model import fresh_model
from motivnet_training.recipe import RECIPES, change_recipe
from motivnet_training.summary import TrainingSummary, evaluate


def trained(data: Path, out: Path, *, classes: int = 7, **values: object) -> TrainingSummary:
    recipe = change_recipe(RECIPES["scratch"], epochs=1, batch_size=16, **values)
    return fit(
        FitRequest(
            data=data,
            out=out,
            config=ModelConfig.named("tiny", classes, image_size=(32, 32)),
            recipe=recipe,
            preprocess=Preprocessing.named("stretch", size=(32, 32)),
            devices=Devices(device="cpu"),
        )
    )


def write_face(path: Path, emotion: str, *, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), draw_face(emotion, seed=seed, size=(40, 40)))


@pytest.mark.parametrize(("classes", "same"), [(7, set()), (8, {"AffectNet"})])
def test_figures_of_affectnets_validation_list_stand_beside_the_papers(
    tmp_path: Path, classes: int, same: set[str]
) -> None:
    """But with seven classes contempt is dropped, and the paper's data are others."""
    for part, count in (("training", 3), ("validation", 1)):
        rows = ["subDirectory_filePath,expression"]
        for code, emotion in enumerate(EMOTIONS):
            for number in range(count):
                name = f"1/{part}_{code}_{number}.png"
                write_face(
                    tmp_path / "Manually_Annotated_Images" / name,
                    emotion,
                    seed=len(part) * 100 + number,
                )
                rows.append(f"{name},{code}")
        file = tmp_path / "Manually_Annotated_file_lists" / f"{part}.csv"
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(rows))
    result = trained(tmp_path, tmp_path / "run", classes=classes)
    assert result.test is not None
    assert result.test.images == classes
    assert {each.dataset for each in result.published if each.same_data} == same


def test_what_was_drawn_counts_what_was_held_out_of_it_too(tmp_path: Path) -> None:
    for label, emotion in enumerate(EMOTIONS[:7]):
        for number in range(5 + label):
            write_face(tmp_path / "faces" / emotion / f"{number}.png", emotion, seed=number)
    data = trained(tmp_path / "faces", tmp_path / "run", per_class=5, stratified=False).data
    assert data.drawn == dict.fromkeys(EMOTIONS[:7], 5)
    assert sum(data.images.values()) == data.training_images == 35 - data.validation_images < 35


def test_a_name_that_is_not_unicode_stops_neither_the_checkpoint_nor_the_summary(
    face_folder: Path, tmp_path: Path
) -> None:
    faces = tmp_path / "faces"
    for file in face_folder.glob("*/*.png"):
        (faces / file.parent.name).mkdir(parents=True, exist_ok=True)
        (faces / file.parent.name / file.name).hardlink_to(file)
    for name in (b"broken\xff.png", b"note\xff.txt"):
        (faces / "anger" / os.fsdecode(name)).write_bytes(b"")
    write_face(faces / "anger" / "new.png", "anger", seed=99)
    (faces / "anger" / "new.png").rename(faces / "anger" / os.fsdecode(b"new\xff.png"))
    trained(faces, tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_bytes())
    assert "anger/broken?.png" in summary["data"]["unreadable"]
    assert load_checkpoint(tmp_path / "run" / "best.safetensors").metadata["unreadable"] == "2"


SMALL = ModelConfig.named("tiny", image_size=(32, 32))
PREPROCESS = Preprocessing.named("stretch", size=(32, 32))
LABELS = EMOTIONS[:7]


def voted(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """The same images, each with four votes in ten for the next label."""
    shares = 0.6 * np.eye(7) + 0.4 * np.roll(np.eye(7), 1, axis=1)
    return tuple(
        Sample(name=s.name, image=s.image, label=s.label, distribution=tuple(shares[s.label]))
        for s in samples
    )


def figures(samples: tuple[Sample, ...]) -> ClassificationMetrics:
    model = fresh_model(SMALL, seed=0)
    return evaluate(model, samples, preprocess=PREPROCESS, labels=LABELS, batch_size=4)


def logarithms(samples: tuple[Sample, ...]) -> np.ndarray:
    with torch.no_grad():
        images = torch.from_numpy(np.stack([PREPROCESS(sample.pixels()) for sample in samples]))
        return fresh_model(SMALL, seed=0).eval()(images).log_softmax(dim=1).numpy()


def test_the_loss_is_that_of_the_votes_and_the_rest_that_of_the_labels() -> None:
    faces = draw_samples(10, seed=0, size=(32, 32), labels=LABELS)
    soft, hard = figures(voted(faces)), figures(faces)
    shares = np.array([sample.distribution for sample in voted(faces)])
    assert soft.loss == pytest.approx(-(shares * logarithms(faces)).sum(axis=1).mean(), rel=1e-5)
    labels = [sample.label for sample in faces]
    assert hard.loss == pytest.approx(-logarithms(faces)[range(10), labels].mean(), rel=1e-5)
    assert soft.loss != pytest.approx(hard.loss, rel=1e-3)
    assert (soft.accuracy, soft.confusion) == (hard.accuracy, hard.confusion)


def test_a_cpu_that_was_asked_for_is_used_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [Devices(device=name).single_device for name in ("cpu", "cuda", "auto")] == [
        "cpu",
        "cuda",
        "cuda",
    ]
