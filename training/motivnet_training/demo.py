"""The demonstration: a small model on faces that are drawn for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from motivnet.config import ModelConfig
from motivnet.errors import ConfigError, FileError, TrainingError
from motivnet.labels import labels_for
from motivnet.preprocess import InputRecipe
from motivnet_training.data import LabelledInputs, labelled_inputs
from motivnet_training.devices import Hardware
from motivnet_training.drawn_faces import drawn_samples
from motivnet_training.epoch import EpochKeeper
from motivnet_training.history import EpochFigures
from motivnet_training.initialisation import fresh_model
from motivnet_training.inputs import ImageInputs, pictures_of
from motivnet_training.recipe import TrainingRecipe
from motivnet_training.recipe_file import yaml_from_recipe
from motivnet_training.session import Session, train

DEMO_ACCURACY = 0.9
_VALIDATION_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What was drawn and learnt, and where the weights lie."""

    checkpoint: str
    labels: tuple[str, ...]
    training_images: int
    validation_images: int
    epochs: int
    seed: int
    validation_accuracy: float
    validation_loss: float
    seconds: float


def train_on_drawn_faces(
    config: ModelConfig,
    out: Path,
    *,
    count: int,
    recipe: TrainingRecipe,
    seed: int = 0,
    min_accuracy: float = DEMO_ACCURACY,
) -> DemoResult:
    """Trains a fresh model on ``count`` drawn faces, validates it on a fifth as many other ones,
    and writes it.

    Raises:
        ConfigError, FileError: If the file could not be written after the training.
        TrainingError: If the training diverges or stays below ``min_accuracy``; nothing is written
        then.
        TrainingStoppedError: If a signal asked for it; nothing is written.
    """
    _check_target(out)
    started = time.monotonic()
    labels = labels_for(config.decoder.num_classes)
    preprocess = InputRecipe.named("stretch", size=config.encoder.image_size)
    held_out = max(len(labels), round(count * _VALIDATION_SHARE))
    training, validation = (
        _drawn(number, labels, preprocess, recipe, seed=seed, set_seed=2 * seed + place)
        for place, number in enumerate((count, held_out))
    )
    keeper = EpochKeeper(
        folder=None,
        recipe=recipe,
        config=config,
        labels=labels,
        preprocess=preprocess,
        validation=validation,
        metadata=_metadata(recipe, training=count, validation=held_out, seed=seed),
    )
    model = fresh_model(config, seed=seed)
    session = Session(
        model=model,
        training=training,
        keeper=keeper,
        seed=seed,
        hardware=Hardware(accelerator="cpu"),
    )
    last = train(session).history[-1]
    _check_learnt(last, min_accuracy)
    keeper.write(out, model, last)
    return DemoResult(
        checkpoint=str(out),
        labels=labels,
        training_images=count,
        validation_images=held_out,
        epochs=last.epoch,
        seed=seed,
        validation_accuracy=last.accuracy,
        validation_loss=last.val_loss,
        seconds=time.monotonic() - started,
    )


def _drawn(
    count: int,
    labels: tuple[str, ...],
    preprocess: InputRecipe,
    recipe: TrainingRecipe,
    *,
    seed: int,
    set_seed: int,
) -> LabelledInputs:
    samples = drawn_samples(count, seed=set_seed, size=preprocess.size, labels=labels)
    inputs = ImageInputs(
        pictures=pictures_of(samples, preprocess),
        recipe=preprocess,
        seed=seed,
        augmentations=recipe.augmentations,
    )
    return labelled_inputs(samples, inputs, classes=len(labels))


def _metadata(
    recipe: TrainingRecipe, *, training: int, validation: int, seed: int
) -> dict[str, str]:
    return {
        "dataset": "drawn faces",
        "training_images": str(training),
        "validation_images": str(validation),
        "seed": str(seed),
        "training_recipe": yaml_from_recipe(recipe),
    }


def _check_learnt(figures: EpochFigures, min_accuracy: float) -> None:
    if figures.accuracy < min_accuracy:
        raise TrainingError(
            f"the model reached a validation accuracy of {figures.accuracy:.1%}, below the {min_accuracy:.0%} asked "
            "for, and was not written; train on more faces or for more epochs"
        )


def _check_target(out: Path) -> None:
    """Refuses before the training what could not be written after it."""
    if out.suffix != ".safetensors":
        raise ConfigError(
            f"{out} must end in .safetensors, the format that checkpoints are written in"
        )
    if out.is_dir():
        raise FileError(f"{out} is a directory; give a file")
