"""Running the encoder once over every image that the cache does not have yet."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motivnet.datasets.sample import Sample
from motivnet.errors import ConfigError, FileError, RuntimeUnavailableError, TrainingError
from motivnet.files import make_folder
from motivnet.model import SapiensEncoder
from motivnet.model.runtime import DTYPES, Compute
from motivnet.preprocess import InputRecipe
from motivnet.progress import Advance, progress
from motivnet.workspace import sole_writer
from motivnet_training.feature_cache.key import TokenKey, token_key
from motivnet_training.feature_cache.shard import MAX_IMAGES, SUFFIX, write_shard
from motivnet_training.feature_cache.store import TokenStore

SHARD_BYTES = 256 << 20

Images = Sequence[tuple[str, Sample]]
"""Samples with the hashes of their images."""


def cache_tokens(
    encoder: SapiensEncoder,
    samples: Sequence[Sample],
    folder: Path,
    *,
    recipe: InputRecipe,
    batch_size: int = 1,
    compute: Compute = "float32",
    device: str = "cpu",
    shard_bytes: int = SHARD_BYTES,
) -> TokenStore:
    """The tokens of all samples, those computed that ``folder`` does not have yet.

    Tokens are final, normalised and in FP16. Those of another encoder, recipe or precision lie in
    another folder below ``folder``; equal images are computed once. Killed at any moment, the next
    call goes on where this one was, with one shard less at most. One process writes at a time. The
    encoder is left as it was given.

    Args:
        compute: The precision of matrix products and attention, by autocast as in mixed-precision
        training.
        shard_bytes: Of tokens in one file; an image that takes more has a file of its own.

    Raises:
        CheckpointError: If a shard in the folder is truncated, damaged or of another key.
        ConfigError: If the recipe's images do not fit the encoder, or the batch size is not
        positive.
        FileError: If the disk has not enough space, the folder cannot be written or another process
        writes it.
        ImageError: If an image cannot be decoded.
        TrainingError: If an image's tokens are not finite or beyond the range of FP16.
    """
    if batch_size < 1:
        raise ConfigError(f"the batch size must be at least 1, not {batch_size}")
    key = token_key(encoder, recipe=recipe, compute=compute)
    store = TokenStore(folder, key)
    missing = store.missing(samples)
    if not missing:
        return store
    with _only_writer(store.folder):
        store = TokenStore(folder, key)  # another process may have written meanwhile
        images = [(digest, sample) for digest, sample in missing.items() if digest not in store]
        check_space(folder, key=key, images=len(images))
        with on_device(encoder, device), progress("encoding images", total=len(images)) as advance:
            for path, part in _shards(store, images, shard_bytes=shard_bytes):
                tokens = _shard_tokens(
                    encoder, part, key=key, batch_size=batch_size, advance=advance
                )
                write_shard(path, tokens, key=key, images=[digest for digest, _ in part])
    return TokenStore(folder, key)


def check_space(folder: Path, *, key: TokenKey, images: int) -> None:
    """Returns when the disk of ``folder`` has room for the tokens of this many images.

    Raises:
        FileError: If it has not.
    """
    needed, free = images * key.bytes_per_image, shutil.disk_usage(folder).free
    if needed > free:
        raise FileError(
            f"{folder}: the tokens of {images:,} images need {needed / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free; "
            "make room or choose a folder on another disk"
        )


@contextlib.contextmanager
def on_device(encoder: SapiensEncoder, device: str) -> Iterator[None]:
    """Has the encoder on ``device``, in evaluation mode, until the end of the block.

    Raises:
        RuntimeUnavailableError: If PyTorch has no such device here.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RuntimeUnavailableError(
            f"PyTorch has no device {device!r} here; use 'cpu'"
        ) from error
    home, training = encoder.pos_embed.device, encoder.training
    encoder.to(device).eval()
    try:
        yield
    finally:
        encoder.to(home).train(training)


def encoded(
    encoder: SapiensEncoder, samples: Sequence[Sample], *, key: TokenKey
) -> NDArray[np.float16]:
    """The final tokens ``(B, N, D)`` of images, computed where the encoder is.

    Raises:
        ImageError: If an image cannot be decoded.
        TrainingError: If an image's tokens are not finite or beyond the range of FP16.
    """
    pixels = np.stack([key.recipe(sample.pixels()) for sample in samples])
    device = encoder.pos_embed.device
    reduced = key.compute != "float32"
    with (
        torch.inference_mode(),
        torch.autocast(
            device.type, dtype=DTYPES[key.compute] if reduced else None, enabled=reduced
        ),
    ):
        tokens = encoder.tokens(torch.from_numpy(pixels).to(device))
        half = tokens.to(torch.float16)
        finite = half.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        first = int(finite.logical_not().nonzero()[0])
        raise TrainingError(_problem(samples[first].name, tokens[first]))
    return half.cpu().numpy()


def _problem(name: str, tokens: Tensor) -> str:
    if not tokens.isfinite().all():
        return f"the encoder gives tokens that are not finite for {name}; check its weights, or compute in float32"
    largest, limit = float(tokens.abs().max()), torch.finfo(torch.float16).max
    return (
        f"the encoder's tokens reach {largest:,.0f} for {name}, beyond the {limit:,.0f} of the FP16 that they are "
        "kept in; train without the cache"
    )


@contextlib.contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            make_folder(folder, private=True)
            alone = stack.enter_context(sole_writer(folder))
        except OSError as error:
            raise FileError(f"{folder} cannot be written: {error.strerror or error}") from error
        if not alone:
            raise FileError(
                f"{folder} is being written by another process; wait for it and run again"
            )
        yield


def _shards(
    store: TokenStore, images: Images, *, shard_bytes: int
) -> Iterator[tuple[Path, Images]]:
    """The images by the shards that they go to, with names that the folder does not have."""
    size = min(MAX_IMAGES, max(1, shard_bytes // store.key.bytes_per_image))
    first = 1 + max((int(path.stem) for path in store.shards if path.stem.isdecimal()), default=0)
    for number, start in zip(itertools.count(first), range(0, len(images), size)):
        yield store.folder / f"{number:05d}{SUFFIX}", images[start : start + size]


def _shard_tokens(
    encoder: SapiensEncoder, images: Images, *, key: TokenKey, batch_size: int, advance: Advance
) -> NDArray[np.float16]:
    """The tokens ``(images, N, D)`` of one shard."""
    tokens = np.empty((len(images), *key.shape), np.float16)
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        _check_unchanged(batch)
        tokens[start : start + len(batch)] = encoded(
            encoder, [sample for _, sample in batch], key=key
        )
        advance(len(batch))
    return tokens


def _check_unchanged(images: Images) -> None:
    """Hours may lie between the hashing of all images and the turn of one: its tokens must not get an old name."""
    for digest, sample in images:
        if sample.digest() != digest:
            raise FileError(f"{sample.name} changed while the tokens were computed; run again")
