"""Refits: the head trained again for smaller images or fewer tokens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from motivnet.checkpoints import load_checkpoint, load_model, save_model
from motivnet.config import ModelConfig
from motivnet.errors import CheckpointError, ConfigError, DatasetError, FileError, MotivNetError
from motivnet.files import sha256_of
from motivnet.labels import EMOTIONS
from motivnet.preprocess import Preprocessing
from motivnet.synthetic import draw_face
from motivnet_training import answers
from motivnet_training.devices import Devices
from motivnet_training.fit import fit
from motivnet_training.fit_request import FitRequest
from motivnet_training.model import fresh_model
from motivnet_training.recipe import RECIPES, change_recipe
from motivnet_training.refit import RefitSummary, refit
from motivnet_training.refit_request import REFIT, RefitRequest

LABELS = EMOTIONS[:7]
FULL = ModelConfig.named("tiny", image_size=(64, 48))
QUICK = change_recipe(REFIT, epochs=3, batch_size=16)


@pytest.fixture(scope="module")
def full(face_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt a little, so that its head has something to lose."""
    out = tmp_path_factory.mktemp("full") / "run"
    recipe = change_recipe(RECIPES["scratch"], epochs=10, batch_size=16, augmentations="mirror")
    request = FitRequest(
        config=FULL,
        data=face_folder,
        out=out,
        recipe=recipe,
        preprocess=Preprocessing.named("stretch", size=(64, 48)),
        devices=Devices(device="cpu"),
    )
    fit(request)
    return Path(shutil.copy(out / "best.safetensors", out.parent / "full.safetensors"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number in range(20):
        face = draw_face(LABELS[number % 7], seed=100 + number, size=(80, 60))
        cv2.imwrite(str(folder / f"{number:02}.png"), face)
    return folder


def request(checkpoint: Path, data: Path, out: Path, **values: object) -> RefitRequest:
    usual = {"recipe": QUICK, "devices": Devices(device="cpu")}
    return RefitRequest(checkpoint=checkpoint, data=data, out=out, **(usual | values))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def smaller(
    full: Path, face_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, RefitSummary]:
    out = tmp_path_factory.mktemp("smaller") / "run"
    return out, refit(request(full, face_folder, out, image_size=(32, 48)))


def test_the_head_is_trained_and_the_encoder_is_as_it_was_resampled(
    full: Path, smaller: tuple[Path, RefitSummary]
) -> None:
    before = load_checkpoint(full, image_size=(32, 48), quiet=True).model.state_dict()
    after = load_model(smaller[0] / "last.safetensors").state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith("encoder.")} <= same
    assert not {"decoder.queries", "decoder.embed.weight", "decoder.group_weight"} & same


def test_the_head_begins_where_the_checkpoint_left_it(
    full: Path, face_folder: Path, tmp_path: Path
) -> None:
    still = change_recipe(QUICK, epochs=1, decoder_lr=1e-12, weight_decay=0.0)
    result = refit(request(full, face_folder, tmp_path / "run", recipe=still))
    before, after = (load_model(path).state_dict() for path in (full, result.checkpoint))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    assert result.full.accuracy == result.before.accuracy
    assert result.full.loss == pytest.approx(result.before.loss, abs=1e-3)  # answers are in FP16
    assert result.validation.accuracy == result.before.accuracy
    assert result.validation.loss == pytest.approx(result.before.loss, abs=1e-3)


def test_a_refit_learns(smaller: tuple[Path, RefitSummary]) -> None:
    _, result = smaller
    losses = [each.train_loss for each in result.training.history]
    assert losses[-1] < losses[0]


def test_a_refit_that_does_not_help_leaves_the_head_as_it_was(
    full: Path, face_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wild = change_recipe(QUICK, epochs=1, decoder_lr=0.9)
    result = refit(request(full, face_folder, tmp_path / "run", image_size=(32, 48), recipe=wild))
    assert result.validation == result.before
    assert "the refit did not help" in caplog.text
    before = load_checkpoint(full, image_size=(32, 48), quiet=True).model.state_dict()
    after = load_checkpoint(result.checkpoint)
    assert all(torch.equal(before[name], after.model.state_dict()[name]) for name in before)
    assert after.metadata["refit_of"] == "full.safetensors"
    said = {name: after.metadata[name] for name in ("epoch", "val_loss", "accuracy", "train_loss")}
    loss, accuracy = str(result.before.loss), str(result.before.accuracy)
    assert said == {"epoch": "0", "val_loss": loss, "accuracy": accuracy, "train_loss": ""}


def test_the_test_split_is_measured_with_the_head_that_is_kept(
    full: Path, images: Path, tmp_path: Path
) -> None:
    for number, path in enumerate(sorted(images.iterdir())):
        part = "train" if number < 10 else "val" if number < 13 else "test"
        folder = tmp_path / "faces" / part / "happiness"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    wild = change_recipe(QUICK, epochs=1, decoder_lr=0.9)
    values = {"image_size": (32, 48), "recipe": wild, "unlabelled": True}
    result = refit(request(full, tmp_path / "faces", tmp_path / "run", **values))
    assert result.validation == result.before
    assert result.test is not None
    assert result.training.test is not None
    assert (result.test.images, result.epoch_chosen_on) == (7, "validation")
    assert result.test.loss < result.training.test.loss  # of the wild epoch
    written = json.loads((tmp_path / "run" / "refit.json").read_bytes())
    assert written["test"]["loss"] == result.test.loss
    assert written["epoch_chosen_on"] == "validation"


def test_the_summary_says_what_the_model_loses(
    full: Path, smaller: tuple[Path, RefitSummary]
) -> None:
    out, result = smaller
    assert (result.image_size, result.tokens, result.targets) == ((32, 48), 6, "labels")
    assert (result.flop, result.full_flop) == (FULL.at((32, 48)).flop, FULL.flop)
    written = json.loads((out / "refit.json").read_bytes())
    for name in ("before", "validation", "full"):
        assert written[name]["images"] == 7
        assert written[name]["accuracy"] == getattr(result, name).accuracy
    assert written["training"]["recipe"] == "refit"
    said = load_checkpoint(full).metadata  # its own training held out the same images
    assert result.full.loss == pytest.approx(float(said["val_loss"]), abs=1e-3)
    assert result.full.accuracy == float(said["accuracy"])
    assert result.before.loss != pytest.approx(result.full.loss, abs=1e-2)


def test_the_checkpoint_says_what_it_was_made_from_and_no_load_warns_of_its_size(
    full: Path, smaller: tuple[Path, RefitSummary], caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_checkpoint(smaller[1].checkpoint)
    said = loaded.metadata
    assert (said["refit_of"], said["refit_from_size"]) == ("full.safetensors", "64x48")
    assert (said["encoder"], said["encoder_sha256"]) == ("full.safetensors", sha256_of(full))
    assert (said["refit_kept_share"], said["refit_targets"]) == ("", "labels")
    assert float(said["refit_accuracy_of_full_model"]) == smaller[1].full.accuracy
    assert float(said["refit_accuracy_before"]) == smaller[1].before.accuracy
    assert loaded.trained_image_size == loaded.config.encoder.image_size == (32, 48)
    assert loaded.preprocessing == Preprocessing.named("stretch", size=(32, 48))
    assert not caplog.messages


def test_a_share_of_the_tokens_is_kept_at_the_smaller_size(
    full: Path, face_folder: Path, tmp_path: Path
) -> None:
    values = {"image_size": (64, 64), "keep_tokens": 0.6}
    out = tmp_path / "small.safetensors"
    result = refit(request(full, face_folder, out, **values))
    assert result.checkpoint == str(out)
    encoder = load_checkpoint(out).config.encoder
    assert encoder.kept_tokens is not None
    assert len(encoder.kept_tokens) == result.tokens == round(0.6 * 16)
    assert result.flop < FULL.at((64, 64)).flop
    assert load_checkpoint(out).metadata["refit_kept_share"] == "0.6"
    assert (tmp_path / "small" / "best.safetensors").read_bytes() == out.read_bytes()


def test_images_without_labels_teach_what_the_full_model_answers(
    full: Path, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = refit(request(full, images, tmp_path / "run", image_size=(32, 48)))
    assert f"{images} has images and no labels" in caplog.text
    assert (result.targets, result.full.accuracy) == ("answers", 1.0)
    assert (result.training.data.training_images, result.validation.images) == (18, 2)
    assert result.training.history[-1].train_loss < result.training.history[0].train_loss
    model = load_model(full)
    preprocess = Preprocessing.named("stretch", size=(64, 48))
    picked = [preprocess(cv2.imread(str(path))[..., ::-1]) for path in sorted(images.iterdir())]
    with torch.inference_mode():
        classes = model(torch.from_numpy(np.stack(picked))).argmax(dim=1)
    drawn = [result.training.data.drawn[label] for label in LABELS]
    assert drawn == torch.bincount(classes, minlength=7).tolist()


def test_labels_are_left_aside_on_request_and_splits_are_kept(
    full: Path, images: Path, tmp_path: Path
) -> None:
    for name, part in (("train", slice(12)), ("val", slice(12, 20))):
        (tmp_path / "faces" / name / "anything").mkdir(parents=True)
        for path in sorted(images.iterdir())[part]:
            shutil.copy(path, tmp_path / "faces" / name / "anything")
    values = {"image_size": (32, 48), "unlabelled": True}
    result = refit(request(full, tmp_path / "faces", tmp_path / "run", **values))
    assert (result.training.data.training_images, result.validation.images) == (12, 8)
    assert result.targets == "answers"
    with pytest.raises(DatasetError, match="no image of a known class"):
        refit(request(full, tmp_path / "faces", tmp_path / "other", image_size=(32, 48)))


def test_answers_and_tokens_are_computed_once_for_all_refits(
    full: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tmp_path / "tokens"
    first = refit(request(full, images, tmp_path / "one", image_size=(32, 48), tokens=tokens))

    def compute(*_: object, **__: object) -> object:
        raise AssertionError("an answer was computed again")

    monkeypatch.setattr(answers._Answering, "_answer", compute)
    written = {path: path.stat().st_mtime_ns for path in tokens.rglob("*.safetensors")}
    again = refit(request(full, images, tmp_path / "two", image_size=(32, 48), tokens=tokens))
    assert again.training.history == first.training.history
    assert {path: path.stat().st_mtime_ns for path in tokens.rglob("*.safetensors")} == written
    smaller = request(full, images, tmp_path / "three", image_size=(32, 32), tokens=tokens)
    assert refit(smaller).full == first.full


def test_a_damaged_file_of_answers_is_refused(full: Path, images: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    refit(request(full, images, tmp_path / "one", image_size=(32, 48), tokens=tokens))
    file = next((tokens / "answers").rglob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"safetensors .*; delete it and run again"):
        refit(request(full, images, tmp_path / "two", image_size=(32, 48), tokens=tokens))


def test_the_head_also_sees_the_mirror_images(full: Path, images: Path, tmp_path: Path) -> None:
    recipes = [change_recipe(QUICK, augmentations=kind) for kind in ("mirror", "none")]
    found = [
        refit(
            request(full, images, tmp_path / each.augmentations, image_size=(32, 48), recipe=each)
        ).training.history[0]
        for each in recipes
    ]
    assert found[0].train_loss != found[1].train_loss


def test_a_refit_that_was_interrupted_goes_on_with_its_tokens_and_its_mask(
    full: Path, face_folder: Path, tmp_path: Path
) -> None:
    values = {"keep_tokens": 0.5}
    whole = refit(request(full, face_folder, tmp_path / "whole", **values))
    out = tmp_path / "run"
    shutil.copytree(tmp_path / "whole" / "tokens", out / "tokens")  # interrupted before training
    started = refit(request(full, face_folder, out, **values))
    assert started.training.history == whole.training.history
    resumed = refit(request(full, face_folder, out, resume=True, **values))
    assert resumed.training.history == whole.training.history
    with pytest.raises(MotivNetError, match="holds a training with other values of: model"):
        refit(request(full, face_folder, out, resume=True, keep_tokens=0.75))


def test_the_encoder_is_trained_too_on_request(
    full: Path, face_folder: Path, tmp_path: Path
) -> None:
    recipe = change_recipe(QUICK, epochs=1, encoder_lr=1e-4, cached=False)
    values = {"image_size": (32, 48), "recipe": recipe}
    refit(request(full, face_folder, tmp_path / "run", **values))
    before = load_checkpoint(full, image_size=(32, 48), quiet=True).model.state_dict()
    after = load_model(tmp_path / "run" / "last.safetensors").state_dict()
    assert not torch.equal(before["encoder.pos_embed"], after["encoder.pos_embed"])
    assert [each.name for each in (tmp_path / "run" / "tokens").iterdir()] == ["answers"]


def saved(path: Path, config: ModelConfig, labels: tuple[str, ...] = LABELS) -> Path:
    save_model(fresh_model(config, seed=1), path, config=config, labels=labels, preprocessing=None)
    return path


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size": (60, 48)}, "multiples of the patch size 16"),
        ({"image_size": (32, 48), "keep_tokens": 1.0}, "must be between 0 and 1, not 1"),
        ({"keep_tokens": 0.0}, "must be between 0 and 1, not 0"),
        ({"keep_tokens": float("nan")}, "must be between 0 and 1, not nan"),
        ({"image_size": (16, 16), "keep_tokens": 0.5}, "a model with one token cannot leave it"),
    ],
)
def test_a_size_or_share_that_does_not_fit_is_refused_and_nothing_is_written(
    full: Path, face_folder: Path, tmp_path: Path, values: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        refit(request(full, face_folder, tmp_path / "run", **values))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("values", [{"keep_tokens": 0.5}, {"image_size": (32, 48)}])
def test_a_model_that_keeps_some_tokens_gets_no_other_size_or_share(
    face_folder: Path, tmp_path: Path, values: dict[str, object]
) -> None:
    some = saved(tmp_path / "some.safetensors", FULL.keeping([1, 4, 5]))
    with pytest.raises(ConfigError, match=r"keeps 3 of .*start from the model that has all"):
        refit(request(some, face_folder, tmp_path / "run", **values))
    assert refit(request(some, face_folder, tmp_path / "run")).tokens == 3  # its head alone


def test_labels_that_do_not_fit_the_checkpoint_are_refused(
    face_folder: Path, tmp_path: Path
) -> None:
    three = ModelConfig.named("tiny", 3, image_size=(32, 32))
    other = saved(tmp_path / "three.safetensors", three, ("cat", "dog", "fox"))
    with pytest.raises(DatasetError, match=r"no image of a known class .*cat, dog, fox"):
        refit(request(other, face_folder, tmp_path / "run"))
    eight = ModelConfig.named("tiny", 8, image_size=(32, 32))
    contempt = saved(tmp_path / "eight.safetensors", eight, EMOTIONS)
    with pytest.raises(DatasetError, match="no image of class contempt to train on"):
        refit(request(contempt, face_folder, tmp_path / "run"))


def test_an_encoder_alone_has_no_head_to_train_again(face_folder: Path, tmp_path: Path) -> None:
    model = fresh_model(ModelConfig.named("tiny"), seed=1)
    path = tmp_path / "encoder.pth"
    torch.save(model.encoder.state_dict(prefix="encoder."), path)
    with pytest.raises(CheckpointError):
        refit(request(path, face_folder, tmp_path / "run"))


def test_a_file_that_exists_is_not_written_over(
    full: Path, face_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine.safetensors"
    out.write_text("mine")
    with pytest.raises(FileError, match="exists already; give another --out"):
        refit(request(full, face_folder, out, image_size=(32, 48)))
    assert out.read_text() == "mine"
