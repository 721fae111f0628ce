"""What the head learns from in a refit: labels, or what the full model answers to the images."""

from __future__ import annotations

import dataclasses
import logging
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.checkpoints.load import Checkpoint
from motivnet.checkpoints.shards import sha256_of_weights
from motivnet.datasets.sample import Dataset
from motivnet.datasets.split import Split
from motivnet.metrics import ClassificationMetrics, compute_sample_metrics
from motivnet.prediction import softmax
from motivnet.preprocess import Preprocessing
from motivnet_training.answers import THE_IMAGE_ITSELF, answers_to_images, cache_answers
from motivnet_training.data import read_split
from motivnet_training.refit_request import RefitRequest
from motivnet_training.token_cache import COMPUTE, images_per_batch
from motivnet_training.unlabelled import (
    NO_LABEL,
    Samples,
    holds_images_alone,
    read_every_image,
    with_answers,
)

logger = logging.getLogger(__name__)

Targets = Literal["labels", "answers"]
"""What a head learns from: the labels of the images, or the full model's answers."""


def choose_targets(request: RefitRequest, labels: tuple[str, ...]) -> Targets:
    """Return what the head learns from."""
    if request.unlabelled:
        return "answers"
    if not holds_images_alone(request.data, labels):
        return "labels"
    logger.warning(
        "%s has images and no labels: the head learns from the full model's answers", request.data
    )
    return "answers"


def read_images(
    request: RefitRequest, labels: tuple[str, ...], targets: Targets
) -> tuple[Dataset, Split]:
    """Return the images to train and to validate on."""
    recipe, seed, allow_outside = request.recipe, request.seed, request.allow_outside
    if targets == "labels":
        return read_split(
            request.data, recipe, labels=labels, seed=seed, allow_outside=allow_outside
        )
    dataset, split = read_every_image(
        request.data,
        names=(*labels, NO_LABEL),
        seed=seed,
        validation_share=recipe.validation_share,
        allow_outside=allow_outside,
    )
    return dataclasses.replace(dataset, labels=labels), split


def ask_full_model(
    request: RefitRequest, full: Checkpoint, split: Split, targets: Targets
) -> tuple[Split, ClassificationMetrics]:
    """Return the split, with the full model's answers if they are the targets, and its metrics.

    The metrics are of the validation images.
    """
    asked = (*split.training, *split.validation, *split.test)
    store = cache_answers(
        full,
        sha256_of_weights(request.checkpoint),
        asked if targets == "answers" else split.validation,
        request.answers_folder,
        views=THE_IMAGE_ITSELF,
        preprocess=preprocessing_of(request, full),
        compute=COMPUTE[request.recipe.precision],
        devices=request.devices,
        batch_size=images_per_batch(full.config.encoder.tokens),
    )

    def answers(samples: Samples) -> NDArray[np.float32]:
        digests = [split.digests[each.name] for each in samples]
        logits, _ = answers_to_images(store, digests, classes=len(full.labels))
        return logits.astype(np.float32)

    def answered(samples: Samples) -> Samples:
        return with_answers(samples, answers(samples)) if samples else ()

    if targets == "answers":
        split = dataclasses.replace(
            split,
            training=answered(split.training),
            validation=answered(split.validation),
            test=answered(split.test),
        )
    probabilities = softmax(answers(split.validation))
    return split, compute_sample_metrics(split.validation, probabilities, full.labels)


def preprocessing_of(request: RefitRequest, full: Checkpoint) -> Preprocessing:
    """Return the preprocessing of the full model."""
    size = full.config.encoder.image_size
    if request.preprocess is not None or full.preprocessing is None:
        recorded = full.preprocessing
        return Preprocessing.named(
            request.preprocess or "stretch",
            size=size,
            align=recorded is not None and recorded.aligns,
        )
    return full.preprocessing
