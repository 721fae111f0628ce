import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from motivnet.checkpoints import load_checkpoint
from motivnet.config import ModelConfig
from motivnet.errors import CheckpointError, ConfigError, FileError, TrainingError
from motivnet.labels import EMOTIONS
from motivnet.preprocess import InputRecipe
from motivnet_training.module import Schedule
from motivnet_training.train import TrainingOptions, train_on_drawn_faces, train_on_folder

LABELS = EMOTIONS[:7]
SMALL = ModelConfig.named("tiny", image_size=(64, 48))
RECIPE = InputRecipe.named("stretch", size=(64, 48))


def test_training_on_drawn_faces_writes_what_it_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "new" / "demo.safetensors"
    options = TrainingOptions(epochs=1, seed=3)
    result = train_on_drawn_faces(SMALL, out, count=35, options=options, min_accuracy=0)
    checkpoint = load_checkpoint(out)
    assert checkpoint.config == SMALL
    assert checkpoint.labels == result.labels == LABELS
    assert checkpoint.recipe == RECIPE
    assert checkpoint.metadata["validation_accuracy"] == f"{result.validation_accuracy:.6f}"
    assert checkpoint.metadata["seed"] == "3"
    assert (result.training_images, result.validation_images) == (35, 7)
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "demo.safetensors"]


def test_the_same_seed_gives_the_same_weights_and_accuracy(tmp_path: Path) -> None:
    results = []
    for name in ("first", "second"):
        torch.manual_seed(len(results))  # what others draw must not matter
        np.random.default_rng()
        out = tmp_path / f"{name}.safetensors"
        options = TrainingOptions(epochs=2, seed=1)
        results.append(train_on_drawn_faces(SMALL, out, count=70, options=options, min_accuracy=0))
    first, second = (dataclasses.replace(result, checkpoint="", seconds=0.0) for result in results)
    assert first == second
    weights = [load_checkpoint(result.checkpoint).model.state_dict() for result in results]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_model_that_has_not_learnt_is_not_written(tmp_path: Path) -> None:
    out = tmp_path / "demo.safetensors"
    out.write_bytes(b"older")
    with pytest.raises(TrainingError, match=r"validation accuracy of [\d.]+%, below the 90% asked for, and was not"):
        train_on_drawn_faces(SMALL, out, count=14, options=TrainingOptions(epochs=1))
    assert [path.name for path in tmp_path.iterdir()] == ["demo.safetensors"]
    assert out.read_bytes() == b"older"


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [("demo.pth", ConfigError, "must end in .safetensors"), ("folder.safetensors", FileError, "is a directory")],
)
def test_a_target_that_could_not_be_written_is_refused_before_training(
    tmp_path: Path, name: str, error: type[Exception], message: str
) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(error, match=message):
        train_on_drawn_faces(SMALL, tmp_path / name, count=10**9, options=TrainingOptions(epochs=1))


@pytest.mark.parametrize("preprocess", ["stretch", "square-white-pad"])
def test_training_on_a_folder_writes_the_recipe_and_counts_what_it_left_out(
    face_folder: Path, tmp_path: Path, preprocess: str
) -> None:
    recipe = InputRecipe.named(preprocess, size=SMALL.encoder.image_size)
    out = tmp_path / "fit.safetensors"
    result = train_on_folder(SMALL, face_folder, out, recipe=recipe, options=TrainingOptions(epochs=1))
    assert (result.training_images, result.validation_images) == (35, 7)
    assert result.skipped == {"unreadable image": 1}
    assert load_checkpoint(out).recipe == recipe


def test_an_encoder_is_taken_over_and_the_head_is_not(face_folder: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    train_on_drawn_faces(SMALL, start, count=14, options=TrainingOptions(epochs=1, seed=5), min_accuracy=0)
    out = tmp_path / "fit.safetensors"
    still = TrainingOptions(epochs=1, schedule=Schedule(encoder_lr=1e-12, decoder_lr=1e-12, weight_decay=0.0))
    train_on_folder(SMALL, face_folder, out, recipe=RECIPE, options=still, encoder=start)
    before, after = (load_checkpoint(path).model.state_dict() for path in (start, out))
    same = {name for name in before if torch.allclose(before[name], after[name], atol=1e-6)}
    assert {name for name in before if name.startswith("encoder.")} <= same
    assert "decoder.queries" not in same


def test_an_encoder_of_another_size_is_refused(face_folder: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    train_on_drawn_faces(SMALL, start, count=14, options=TrainingOptions(epochs=1), min_accuracy=0)
    tiny = ModelConfig.named("tiny")
    recipe = InputRecipe.named("stretch", size=tiny.encoder.image_size)
    options = TrainingOptions(epochs=1)
    with pytest.raises(CheckpointError, match="does not have the sizes asked for"):
        train_on_folder(tiny, face_folder, tmp_path / "fit.safetensors", recipe=recipe, options=options, encoder=start)
