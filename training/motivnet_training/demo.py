"""The demonstration: a small model on faces that are drawn for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from motivnet.config import ModelConfig
from motivnet.datasets.sample import RawPixels, Sample
from motivnet.errors import ConfigError, FileError, TrainingError
from motivnet.labels import labels_for
from motivnet.path_kind import kind_of
from motivnet.preprocess import Preprocessing
from motivnet.schema import Schema
from motivnet.synthetic import iterate_faces
from motivnet.terminal import progress
from motivnet_training.data import ImageInputs, LabelledInputs, decode_images, label_inputs
from motivnet_training.devices import Devices
from motivnet_training.loop import train
from motivnet_training.model import fresh_model
from motivnet_training.recipe import TrainingRecipe
from motivnet_training.recipe_file import yaml_from_recipe
from motivnet_training.session import Session, write_checkpoint

DEMO_ACCURACY = 0.9
_VALIDATION_SHARE = 0.2


class DemoSummary(Schema, frozen=True, kw_only=True):
    """What was drawn and learnt, and where the weights are."""

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
    on_message: Callable[[str], None] = lambda _: None,
) -> DemoSummary:
    """Train a fresh model on drawn faces, validate it on a fifth as many others, and write it.

    Args:
        on_message: Called with a line about each epoch.

    Raises:
        ConfigError, FileError: If the file could not be written after the training.
        TrainingError: If the training diverges or stays below ``min_accuracy``; nothing is written
            then.
        TrainingStoppedError: If a signal asked for it; nothing is written.
    """
    if out.suffix != ".safetensors":
        raise ConfigError(f"{out} must end in .safetensors, the format of checkpoints")
    if kind_of(out, output="--out") == "folder":
        raise FileError(f"{out} is a directory; give a file")
    started = time.monotonic()
    labels = labels_for(config.decoder.num_classes)
    preprocess = Preprocessing.named("stretch", size=config.encoder.image_size)
    held_out = max(len(labels), round(count * _VALIDATION_SHARE))
    model = fresh_model(config, seed=seed)
    session = Session(
        model=model,
        config=config,
        recipe=recipe,
        labels=labels,
        preprocess=preprocess,
        training=_draw_inputs(count, labels, preprocess, recipe, seed=seed, face_seed=2 * seed),
        validation=_draw_inputs(
            held_out, labels, preprocess, recipe, seed=seed, face_seed=2 * seed + 1
        ),
        seed=seed,
        devices=Devices(device="cpu"),
        metadata={
            "dataset": "drawn faces",
            "training_images": str(count),
            "validation_images": str(held_out),
            "seed": str(seed),
            "training_recipe": yaml_from_recipe(recipe),
        },
        on_message=on_message,
    )
    last = train(session).history[-1]
    if last.accuracy < min_accuracy:
        raise TrainingError(
            f"the model reached a validation accuracy of {last.accuracy:.1%} and was not written: "
            f"a demo below {min_accuracy:.0%} is not kept; give more --faces or --epochs"
        )
    write_checkpoint(session, out, model.state_dict(), last)
    return DemoSummary(
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


def draw_samples(
    count: int, *, seed: int, size: tuple[int, int], labels: tuple[str, ...]
) -> tuple[Sample, ...]:
    """Return drawn faces of ``size`` (height, width) that go through the labels in turn.

    Sets of different seeds share no face.
    """
    samples: list[Sample] = []
    with progress("drawing faces", total=count) as advance:
        for index, face in enumerate(iterate_faces(count, seed=seed, size=size, labels=labels)):
            image = RawPixels(data=face.tobytes(), size=size)
            samples.append(Sample(name=f"face {index}", image=image, label=index % len(labels)))
            advance(1)
    return tuple(samples)


def _draw_inputs(
    count: int,
    labels: tuple[str, ...],
    preprocess: Preprocessing,
    recipe: TrainingRecipe,
    *,
    seed: int,
    face_seed: int,
) -> LabelledInputs:
    samples = draw_samples(count, seed=face_seed, size=preprocess.size, labels=labels)
    inputs = ImageInputs(
        samples=samples,
        preprocess=preprocess,
        decoded=decode_images(samples, preprocess),
        seed=seed,
        augmentations=recipe.augmentations,
    )
    return label_inputs(samples, inputs, classes=len(labels))
