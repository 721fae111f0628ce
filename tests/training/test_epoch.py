"""The end of an epoch: what its figures are refused for, and what is written of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from motivnet.checkpoints import load_model
from motivnet.config import ModelConfig
from motivnet.errors import TrainingError
from motivnet.labels import EMOTIONS
from motivnet.preprocess import InputRecipe
from motivnet_training.batch_sampler import Key
from motivnet_training.data import LabelledInputs
from motivnet_training.devices import Hardware
from motivnet_training.epoch import EpochKeeper
from motivnet_training.history import EpochFigures
from motivnet_training.initialisation import fresh_model
from motivnet_training.recipe import RECIPES, changed
from motivnet_training.run_folder import RunFolder
from motivnet_training.session import Session, train

SMALL = ModelConfig.named("tiny", image_size=(32, 32))
RECIPE = changed(RECIPES["scratch"], augmentations="none", batch_size=7, epochs=1)
FIGURES = EpochFigures(
    epoch=1,
    steps=2,
    encoder_lr=0.0,
    decoder_lr=0.1,
    train_loss=1.0,
    val_loss=1.0,
    accuracy=0.5,
    uar=0.5,
    macro_f1=0.5,
    macro_precision=0.5,
    auroc=None,
)


@dataclass(frozen=True)
class Noise:
    """Inputs drawn by index; those of the images in ``spoilt`` hold a number that is not finite."""

    spoilt: tuple[int, ...] = ()
    value: float = math.nan

    @property
    def in_memory(self) -> bool:
        return True

    def batch(self, keys: Sequence[Key]) -> Tensor:
        images = [
            torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(index))
            for _, index in keys
        ]
        for image, (_, index) in zip(images, keys, strict=True):
            image[0, 0, 0] = self.value if index in self.spoilt else image[0, 0, 0]
        return torch.stack(images)


def images(count: int, inputs: Noise) -> LabelledInputs:
    return LabelledInputs(
        inputs=inputs,
        targets=torch.eye(7)[torch.arange(count) % 7],
        names=tuple(f"{n}.png" for n in range(count)),
    )


def keeper(validation: LabelledInputs, folder: RunFolder | None = None) -> EpochKeeper:
    return EpochKeeper(
        folder=folder,
        recipe=RECIPE,
        config=SMALL,
        labels=EMOTIONS[:7],
        preprocess=InputRecipe.named("stretch", size=(32, 32)),
        validation=validation,
        metadata={},
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_logit_that_is_not_finite_is_refused_with_its_images_name(value: float) -> None:
    logits = np.zeros((14, 7))
    logits[3, 6] = value
    with pytest.raises(
        TrainingError, match=r"NaN or infinity for the validation images 3\.png; lower the learning"
    ):
        keeper(images(14, Noise())).figures(logits)


def test_of_many_images_eight_are_named() -> None:
    logits = np.full((14, 7), math.nan)
    with pytest.raises(TrainingError) as raised:
        keeper(images(14, Noise())).figures(logits)
    assert ", ".join(f"{n}.png" for n in range(8)) + " and 6 more;" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_validation_that_is_not_finite_ends_the_training_and_nothing_of_it_is_kept(
    tmp_path: Path,
) -> None:
    held_out = keeper(images(7, Noise(spoilt=(2, 5))), RunFolder(tmp_path))
    session = Session(
        model=fresh_model(SMALL, seed=0),
        training=images(14, Noise()),
        keeper=held_out,
        seed=0,
        hardware=Hardware(accelerator="cpu"),
    )
    with pytest.raises(TrainingError, match=r"for the validation images 2\.png, 5\.png;"):
        train(session)
    assert not RunFolder(tmp_path).best.exists()
    assert not RunFolder(tmp_path).resume.exists()


def test_the_best_weights_are_those_of_the_modules_state(tmp_path: Path) -> None:
    model, folder = fresh_model(SMALL, seed=3), RunFolder(tmp_path)
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    keeper(images(7, Noise()), folder).keep_best(state, FIGURES)
    keeper(images(7, Noise()), folder).write(folder.last, model, FIGURES)
    assert folder.best.read_bytes() == folder.last.read_bytes()
    written = load_model(folder.best).state_dict()
    assert all(torch.equal(tensor, written[name]) for name, tensor in model.state_dict().items())


def test_without_a_folder_nothing_is_written() -> None:
    keeper(images(7, Noise())).keep_best({}, FIGURES)
