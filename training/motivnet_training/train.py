"""From labelled faces to a checkpoint: the library calls behind ``motivnet-train``."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

from motivnet.checkpoints import load_checkpoint, save_model
from motivnet.config import ModelConfig
from motivnet.errors import ConfigError, FileError, TrainingError
from motivnet.labels import labels_for
from motivnet.model import MotivNet
from motivnet.preprocess import InputRecipe
from motivnet_training.data import FaceDataModule, MemorySamples, samples_from_files
from motivnet_training.datasets.split import read_split
from motivnet_training.datasets.synthetic import drawn_faces
from motivnet_training.initialisation import fresh_model
from motivnet_training.module import EmotionModule, Schedule
from motivnet_training.trainer import run_training

logger = logging.getLogger(__name__)

DEMO_ACCURACY = 0.9
_VALIDATION_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How long and how to train."""

    epochs: int
    batch_size: int = 32
    seed: int = 0
    schedule: Schedule = field(default_factory=Schedule)
    accelerator: str = "cpu"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.seed < 0:
            raise ConfigError("epochs and batch size must be at least 1, and the seed not negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What was trained on, what came out, and where it lies."""

    checkpoint: str
    dataset: str
    labels: tuple[str, ...]
    training_images: int
    validation_images: int
    skipped: dict[str, int]
    epochs: int
    seed: int
    validation_accuracy: float
    validation_loss: float
    seconds: float


def train_on_drawn_faces(
    config: ModelConfig, out: Path, *, count: int, options: TrainingOptions, min_accuracy: float = DEMO_ACCURACY
) -> TrainingResult:
    """Trains a fresh model on ``count`` drawn faces, validates it on a fifth as many other ones, and writes it.

    Raises:
        TrainingError: If it diverges or stays below ``min_accuracy``; nothing is written then.
    """
    _check_target(out)
    started = time.monotonic()
    labels = labels_for(config.decoder.num_classes)
    recipe = InputRecipe.named("stretch", size=config.encoder.image_size)
    held_out = max(len(labels), round(count * _VALIDATION_SHARE))
    training, validation = (
        MemorySamples(images=images, targets=targets)
        for images, targets in (
            drawn_faces(number, seed=seed, size=recipe.size, labels=labels)
            for number, seed in ((count, 2 * options.seed), (held_out, 2 * options.seed + 1))
        )
    )
    data = FaceDataModule(training, validation, recipe=recipe, batch_size=options.batch_size, seed=options.seed)
    module = _trained(fresh_model(config, seed=options.seed), data, options)
    _check_learnt(module, min_accuracy)
    return _saved(module, data, out, config=config, options=options, dataset="drawn faces", skipped={}, started=started)


def train_on_folder(
    config: ModelConfig,
    folder: Path,
    out: Path,
    *,
    recipe: InputRecipe,
    options: TrainingOptions,
    encoder: Path | None = None,
) -> TrainingResult:
    """Trains a model on a folder of class folders and writes it.

    Args:
        encoder: A weights file whose encoder to start from; the head is always fresh.

    Raises:
        DatasetError: If the folder cannot be read as a dataset.
        CheckpointError: If the encoder does not fit.
        TrainingError: If the training diverges; nothing is written then.
    """
    _check_target(out)
    started = time.monotonic()
    model = _model_with_encoder(config, encoder, seed=options.seed)
    split = read_split(folder, labels=labels_for(config.decoder.num_classes), seed=options.seed)
    data = FaceDataModule(
        samples_from_files(split.training, recipe=recipe),
        samples_from_files(split.validation, recipe=recipe),
        recipe=recipe,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    module = _trained(model, data, options)
    return _saved(
        module,
        data,
        out,
        config=config,
        options=options,
        dataset=folder.resolve().name,
        skipped=split.skipped,
        started=started,
    )


def _model_with_encoder(config: ModelConfig, encoder: Path | None, *, seed: int) -> MotivNet:
    model = fresh_model(config, seed=seed)
    if encoder is not None:
        model.encoder.load_state_dict(load_checkpoint(encoder, config).model.encoder.state_dict())
    return model


def _trained(model: MotivNet, data: FaceDataModule, options: TrainingOptions) -> EmotionModule:
    total = options.epochs * len(data.train_dataloader())
    module = EmotionModule(model, schedule=options.schedule, total_steps=total)
    run_training(module, data, epochs=options.epochs, accelerator=options.accelerator)
    module.model.cpu().eval()
    return module


def _check_learnt(module: EmotionModule, min_accuracy: float) -> None:
    if module.accuracy < min_accuracy:
        raise TrainingError(
            f"the model reached a validation accuracy of {module.accuracy:.1%}, below the {min_accuracy:.0%} asked "
            "for, and was not written; train on more faces or for more epochs"
        )


def _saved(
    module: EmotionModule,
    data: FaceDataModule,
    out: Path,
    *,
    config: ModelConfig,
    options: TrainingOptions,
    dataset: str,
    skipped: dict[str, int],
    started: float,
) -> TrainingResult:
    labels = labels_for(config.decoder.num_classes)
    result = TrainingResult(
        checkpoint=str(out),
        dataset=dataset,
        labels=labels,
        training_images=len(data.training.targets),
        validation_images=len(data.validation.targets),
        skipped=skipped,
        epochs=options.epochs,
        seed=options.seed,
        validation_accuracy=module.accuracy,
        validation_loss=module.loss,
        seconds=time.monotonic() - started,
    )
    save_model(module.model, out, config=config, labels=labels, recipe=data.recipe, metadata=_metadata(result))
    return result


def _metadata(result: TrainingResult) -> dict[str, str]:
    return {
        "dataset": result.dataset,
        "training_images": str(result.training_images),
        "validation_images": str(result.validation_images),
        "validation_accuracy": f"{result.validation_accuracy:.6f}",
        "epochs": str(result.epochs),
        "seed": str(result.seed),
    }


def _check_target(out: Path) -> None:
    """Refuses before the training what could not be written after it."""
    if out.suffix != ".safetensors":
        raise ConfigError(f"{out} must end in .safetensors, the format that checkpoints are written in")
    if out.is_dir():
        raise FileError(f"{out} is a directory; give a file")
