"""The cached tokens of a dataset's images, for trainings with the recipe ``fast``."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path

from motivnet.checkpoints import load_checkpoint
from motivnet.config import ModelConfig
from motivnet.datasets.sample import Sample
from motivnet.labels import labels_for
from motivnet.model import SapiensEncoder
from motivnet.model.runtime import Compute
from motivnet.preprocess import Preprocessing
from motivnet.schema import Schema
from motivnet_training.data import read_split
from motivnet_training.devices import Devices
from motivnet_training.feature_cache import TokenStore, cache_tokens
from motivnet_training.recipe import Precision, TrainingRecipe

logger = logging.getLogger(__name__)

COMPUTE: dict[Precision, Compute] = {
    "32-true": "float32",
    "bf16-mixed": "bfloat16",
    "16-mixed": "float16",
}
"""The precision in which tokens are computed by that of the training."""


_BATCH_TOKENS = 4096
"""One image of 1024x768 pixels has 3,072, and fills a processor."""


class CacheSummary(Schema, frozen=True, kw_only=True):
    """The images that were asked for, equal ones counted once, and the bytes of their tokens."""

    folder: str
    images: int
    bytes: int
    seconds: float


def cache_dataset(
    data: Path,
    out: Path,
    *,
    encoder: Path,
    ema: bool = False,
    config: ModelConfig,
    recipe: TrainingRecipe,
    preprocess: Preprocessing,
    devices: Devices,
    batch_size: int = 1,
    seed: int = 0,
    allow_outside: bool = False,
) -> CacheSummary:
    """Compute the missing tokens of the images that the recipe trains and validates on.

    Raises:
        CheckpointError: If the encoder does not fit, or a file of the cache is damaged.
        DatasetError: If the data cannot be read as a dataset.
        FileError: If the disk has not enough space, or the folder cannot be written.
        TrainingError: If an image's tokens are not finite.
    """
    started = time.monotonic()
    given = load_checkpoint(encoder, config, ema=ema, quiet=True)
    for note in given.notes:
        logger.warning("%s %s", encoder, note)
    labels = labels_for(config.decoder.num_classes)
    _, split = read_split(data, recipe, labels=labels, seed=seed, allow_outside=allow_outside)
    samples = split.training + split.validation
    store = cache_samples(
        given.model.encoder,
        samples,
        out,
        recipe=recipe,
        preprocess=preprocess,
        devices=devices,
        batch_size=batch_size,
    )
    images = len({split.digests[sample.name] for sample in samples})
    return CacheSummary(
        folder=str(out),
        images=images,
        bytes=images * store.key.bytes_per_image,
        seconds=time.monotonic() - started,
    )


def images_per_batch(tokens: int) -> int:
    """Return how many images of so many tokens are encoded together."""
    return max(1, _BATCH_TOKENS // tokens)


def cache_samples(
    encoder: SapiensEncoder,
    samples: Sequence[Sample],
    folder: Path,
    *,
    recipe: TrainingRecipe,
    preprocess: Preprocessing,
    devices: Devices,
    batch_size: int | None = None,
    mirrored: bool = False,
) -> TokenStore:
    """Return the tokens of these images in the recipe's precision; see ``cache_tokens``.

    Args:
        batch_size: Images that are encoded together, by default as ``images_per_batch`` says.
    """
    if batch_size is None:
        batch_size = images_per_batch(
            len(encoder.kept_tokens or range(math.prod(encoder.grid_size)))
        )
    return cache_tokens(
        encoder,
        samples,
        folder,
        preprocess=preprocess,
        batch_size=batch_size,
        compute=COMPUTE[recipe.precision],
        device=devices.single_device,
        mirrored=mirrored,
    )
