"""The teacher of a distillation: whether it can teach, what it answers, and how surely."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from motivnet.checkpoints import Checkpoint, load_checkpoint
from motivnet.datasets.sample import Sample
from motivnet.errors import ConfigError
from motivnet.preprocess import Preprocessing
from motivnet_engines.calibration.fitting import MIN_HELD_OUT, fit_temperature
from motivnet_training.answers import THE_IMAGE_ITSELF, answers_to_images, cache_answers
from motivnet_training.distill.fidelity import Outputs
from motivnet_training.distill.images import TaughtImages
from motivnet_training.distill.request import DistillRequest
from motivnet_training.feature_cache import TokenStore, Views
from motivnet_training.token_cache import COMPUTE
from motivnet_training.unlabelled import Samples

logger = logging.getLogger(__name__)

DEFAULT_TEMPERATURE = 2.0
"""Where there are too few labels to fit one: the middle of those that Hinton et al. 2015 use for
small students."""

TEMPERATURES = (1.0, 4.0)
"""The temperatures that a student learns at. Below one the calibration would make a teacher surer
than it is, and take away the small probabilities that tell how classes resemble each other; far
above it only the logits' mean counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """A loaded teacher, the hash of its file, and its answers to training and other images."""

    checkpoint: Checkpoint
    sha256: str
    preprocess: Preprocessing
    views: Views
    training: TokenStore
    held_out: TokenStore

    def training_outputs(self, images: TaughtImages) -> Outputs:
        """Return the teacher's outputs for the training images themselves."""
        return outputs_in(self.training, images, images.training)

    def held_out_outputs(self, images: TaughtImages, samples: Samples) -> Outputs:
        """Return the teacher's outputs for images that are not learnt from."""
        return outputs_in(self.held_out, images, samples)


def load_teacher(request: DistillRequest) -> Checkpoint:
    """Return the teacher, if it can teach this student.

    Raises:
        CheckpointError: If it cannot be loaded.
        ConfigError: If it has no head or another number of classes.
    """
    teacher = load_checkpoint(request.teacher)
    wanted, given = request.config.decoder.num_classes, teacher.config.decoder.num_classes
    if teacher.fresh_head:
        raise ConfigError(
            f"{request.teacher} holds an encoder alone, whose random head teaches nothing; "
            "train it first with motivnet-train fit --encoder"
        )
    if wanted != given:
        raise ConfigError(
            f"the student has {wanted} classes and its teacher {given} "
            f"({', '.join(teacher.labels[:8])}); give the student as many"
        )
    if request.config.flop >= teacher.config.flop:
        logger.warning(
            "the student needs %.0f million FLOP per image and its teacher %.0f: nothing is saved",
            request.config.flop / 1e6,
            teacher.config.flop / 1e6,
        )
    return teacher


def preprocessing_of(teacher: Checkpoint) -> Preprocessing:
    """Return the teacher's own preprocessing, or the published one."""
    size = teacher.config.encoder.image_size
    return teacher.preprocessing or Preprocessing.named("stretch", size=size)


def ask_teacher(
    request: DistillRequest, teacher: Checkpoint, sha256: str, images: TaughtImages
) -> Taught:
    """Return the teacher with its answers, after computing those that are not kept yet.

    Args:
        sha256: Of the teacher's file.

    Raises:
        CheckpointError, FileError, ImageError, TrainingError: As ``cache_answers``.
    """
    preprocess = preprocessing_of(teacher)
    views = Views(
        count=request.views, seed=request.seed, augmentations=request.recipe.augmentations
    )

    def cached(samples: Samples, views: Views) -> TokenStore:
        return cache_answers(
            teacher,
            sha256,
            samples,
            request.answers_folder,
            views=views,
            preprocess=preprocess,
            # What is measured is measured in full precision.
            compute=COMPUTE[request.recipe.precision] if views.count > 1 else "float32",
            devices=request.devices,
            batch_size=request.recipe.batch_size,
        )

    held_out = (*images.validation, *images.measured, *images.unknown)
    return Taught(
        checkpoint=teacher,
        sha256=sha256,
        preprocess=preprocess,
        views=views,
        training=cached(images.training, views),
        held_out=cached(held_out, THE_IMAGE_ITSELF),
    )


def outputs_in(store: TokenStore, images: TaughtImages, samples: Sequence[Sample]) -> Outputs:
    """Return the answers in a store to images themselves."""
    digests = [images.digests[sample.name] for sample in samples]
    logits, embedding = answers_to_images(store, digests, classes=len(images.labels))
    return Outputs(logits=logits, embedding=embedding)


def choose_temperature(
    taught: Taught, images: TaughtImages, on_message: Callable[[str], None]
) -> float:
    """Return the teacher's calibrated temperature within ``TEMPERATURES``, and say it."""
    labelled = tuple(sample for sample in images.validation if images.has_label(sample))
    if len(labelled) < MIN_HELD_OUT:
        on_message(
            f"{len(labelled)} labelled validation images are too few to calibrate the teacher: "
            f"its answers are learnt at a temperature of {DEFAULT_TEMPERATURE:g}"
        )
        return DEFAULT_TEMPERATURE
    logits = taught.held_out_outputs(images, labelled).logits
    fitted = fit_temperature(logits, np.asarray([each.label for each in labelled], np.intp))
    chosen = float(np.clip(fitted, *TEMPERATURES))
    on_message(
        f"the teacher's calibrated temperature is {fitted:.2f}; "
        f"its answers are learnt at {chosen:.2f}"
    )
    return chosen
