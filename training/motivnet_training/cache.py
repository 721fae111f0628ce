"""The tokens of a dataset's images in advance, so that trainings with the recipe ``fast`` find them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from motivnet.checkpoints import load_checkpoint
from motivnet.config import ModelConfig
from motivnet.datasets.sample import Sample
from motivnet.labels import labels_for
from motivnet.model import SapiensEncoder
from motivnet.model.runtime import Compute
from motivnet.preprocess import InputRecipe
from motivnet_training.dataset_selection import read_split
from motivnet_training.feature_cache import TokenStore, cache_tokens
from motivnet_training.recipe import Precision, TrainingRecipe

_COMPUTE: dict[Precision, Compute] = {
    "32-true": "float32",
    "bf16-mixed": "bfloat16",
    "16-mixed": "float16",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRequest:
    """Which images' tokens, of which encoder, and where to; ``device`` None is a GPU where there is one."""

    config: ModelConfig
    data: Path
    out: Path
    encoder: Path
    recipe: TrainingRecipe
    preprocess: InputRecipe
    seed: int = 0
    batch_size: int = 1
    device: str | None = None
    allow_outside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheResult:
    """The images that were asked for, equal ones counted once, and the bytes of their tokens."""

    folder: str
    images: int
    bytes: int
    seconds: float


def cache_dataset(request: CacheRequest) -> CacheResult:
    """Computes the tokens of the images that the recipe trains and validates on, as far as they are
    not there.

    Raises:
        CheckpointError: If the encoder does not fit, or a file of the cache is damaged.
        DatasetError: If the data cannot be read as a dataset.
        FileError: If the disk has not enough space, or the folder cannot be written.
        TrainingError: If an image's tokens are not finite.
    """
    started = time.monotonic()
    model = load_checkpoint(request.encoder, request.config, quiet=True).model
    _, split = read_split(
        request.data,
        request.recipe,
        labels=labels_for(request.config.decoder.num_classes),
        seed=request.seed,
        allow_outside=request.allow_outside,
    )
    store = tokens_of(
        model.encoder,
        split.training + split.validation,
        request.out,
        recipe=request.recipe,
        preprocess=request.preprocess,
        batch_size=request.batch_size,
        device=request.device,
    )
    images = len({split.digests[sample.name] for sample in split.training + split.validation})
    return CacheResult(
        folder=str(request.out),
        images=images,
        bytes=images * store.key.bytes_per_image,
        seconds=time.monotonic() - started,
    )


def tokens_of(
    encoder: SapiensEncoder,
    samples: Sequence[Sample],
    folder: Path,
    *,
    recipe: TrainingRecipe,
    preprocess: InputRecipe,
    batch_size: int = 1,
    device: str | None = None,
) -> TokenStore:
    """The tokens of these images, in the precision that the recipe trains in; see ``cache_tokens``."""
    return cache_tokens(
        encoder,
        samples,
        folder,
        recipe=preprocess,
        batch_size=batch_size,
        compute=_COMPUTE[recipe.precision],
        device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
    )
