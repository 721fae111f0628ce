"""Runs the encoder once over every image that the cache does not have yet."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from motivnet.datasets.sample import Sample
from motivnet.errors import FileError, RuntimeUnavailableError, TrainingError
from motivnet.files import make_folder
from motivnet.model import SapiensEncoder
from motivnet.model.runtime import DTYPES, Compute
from motivnet.preprocess import Preprocessing
from motivnet.terminal import Advance, progress
from motivnet.workspace import write_lock
from motivnet_engines.faces.alignment import aligned
from motivnet_training.feature_cache.key import TokenKey, token_key
from motivnet_training.feature_cache.shard import MAX_IMAGES, SUFFIX, write_shard
from motivnet_training.feature_cache.store import TokenStore

Images: TypeAlias = Sequence[tuple[str, Sample]]
"""Samples with the hashes of their images."""

ComputeRows: TypeAlias = Callable[[Images], NDArray[np.float16]]
"""Returns the rows ``(images, *shape)`` of a batch."""


def cache_tokens(
    encoder: SapiensEncoder,
    samples: Sequence[Sample],
    folder: Path,
    *,
    preprocess: Preprocessing,
    batch_size: int = 1,
    compute: Compute = "float32",
    device: str = "cpu",
    mirrored: bool = False,
    shard_bytes: int = 256 << 20,
) -> TokenStore:
    """Return the tokens of all samples, after computing those that ``folder`` does not have.

    Tokens are final, normalised and in FP16. Those of another encoder, preprocessing or precision
    are in another folder below ``folder``; equal images are computed once. If the process is
    killed, the next call continues where this one was, with one shard less at most. One process
    writes at a time. The encoder is left as it was given.

    Args:
        compute: The precision of matrix products and attention, by autocast.
        mirrored: Whether left and right of the preprocessed images are exchanged.
        shard_bytes: Of tokens in one file; an image that takes more has a separate file.

    Raises:
        CheckpointError: If a shard in the folder is truncated, damaged or of another key.
        ConfigError: If the preprocessed images do not fit the encoder.
        FileError: If the disk has not enough space, the folder cannot be written or another process
            writes it.
        ImageError: If an image cannot be decoded.
        TrainingError: If an image's tokens are not finite or beyond the range of FP16.
    """
    key = token_key(encoder, preprocess=preprocess, compute=compute, mirrored=mirrored)

    @contextlib.contextmanager
    def encoding() -> Iterator[ComputeRows]:
        with on_device(encoder, device):
            yield lambda images: encode_images(encoder, [each for _, each in images], key=key)

    return fill_store(
        TokenStore(folder, key), samples, encoding, batch_size=batch_size, shard_bytes=shard_bytes
    )


def fill_store(
    store: TokenStore,
    samples: Sequence[Sample],
    computing: Callable[[], AbstractContextManager[ComputeRows]],
    *,
    batch_size: int,
    shard_bytes: int,
) -> TokenStore:
    """Return the store with the rows of all samples, after computing those that it lacks.

    Args:
        computing: Opened if rows are lacking; gives what computes them.

    Raises:
        CheckpointError, FileError, ImageError: As ``cache_tokens``.
    """
    missing = store.missing(samples)
    if not missing:
        return store
    folder, key = store.root, store.key
    with _lock_folder(store.folder):
        store = TokenStore(folder, key)  # another process may have written meanwhile
        images = [(digest, sample) for digest, sample in missing.items() if digest not in store]
        check_space(folder, key=key, images=len(images))
        task = "encoding images" if key.views is None else "full model's answers"
        with computing() as compute, progress(task, total=len(images)) as advance:
            for path, part in _shards(store, images, shard_bytes=shard_bytes):
                rows = _compute_shard(
                    compute, part, key=key, batch_size=batch_size, advance=advance
                )
                write_shard(path, rows, key=key, images=[digest for digest, _ in part])
    return TokenStore(folder, key)


def check_space(folder: Path, *, key: TokenKey, images: int) -> None:
    """Check that the disk of ``folder`` has room for the tokens of this many images.

    Raises:
        FileError: If it has not.
    """
    needed, free = images * key.bytes_per_image, shutil.disk_usage(folder).free
    if needed > free:
        raise FileError(
            f"{folder}: the tokens of {images:,} images need {needed / 1e6:,.1f} MB, "
            f"{free / 1e6:,.1f} MB are free; make room or choose a folder on another disk"
        )


@contextlib.contextmanager
def on_device(network: nn.Module, device: str) -> Iterator[None]:
    """Move a network to ``device``, in evaluation mode, for the block.

    Raises:
        RuntimeUnavailableError: If PyTorch has no such device here.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RuntimeUnavailableError(
            f"PyTorch has no device {device!r} here; use 'cpu'"
        ) from error
    home, training = next(network.parameters()).device, network.training
    network.to(device).eval()
    try:
        yield
    finally:
        network.to(home).train(training)


def encode_images(
    encoder: SapiensEncoder, samples: Sequence[Sample], *, key: TokenKey
) -> NDArray[np.float16]:
    """Return the final tokens ``(B, N, D)`` of images, computed on the encoder's device.

    Raises:
        ImageError: If an image cannot be decoded.
        TrainingError: If an image's tokens are not finite or beyond the range of FP16.
    """
    pixels = np.stack(
        [key.preprocess(aligned(key.preprocess, sample.pixels())) for sample in samples]
    )
    if key.mirrored:
        pixels = np.ascontiguousarray(pixels[..., ::-1])
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
    check_range(half, tokens, samples)
    return half.cpu().numpy()


def check_range(half: Tensor, values: Tensor, samples: Sequence[Sample]) -> None:
    """Check that what is kept in FP16 ``(B, ...)`` is finite.

    Raises:
        TrainingError: Naming the first image, and whether the values were beyond FP16.
    """
    finite = half.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        first = int(finite.logical_not().nonzero()[0])
        raise _range_error(samples[first].name, values[first])


def _range_error(name: str, tokens: Tensor) -> TrainingError:
    if not tokens.isfinite().all():
        return TrainingError(
            f"the encoder gives tokens that are not finite for {name}; "
            "check its weights, or compute in float32"
        )
    largest, limit = float(tokens.abs().max()), torch.finfo(torch.float16).max
    return TrainingError(
        f"the encoder's tokens reach {largest:,.0f} for {name}, beyond the {limit:,.0f} of FP16, "
        "in which they are kept; train without the cache"
    )


@contextlib.contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            make_folder(folder, private=True)
            alone = stack.enter_context(write_lock(folder))
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
    """Yield the images by the shards that they go to, which the folder does not have yet."""
    size = min(MAX_IMAGES, max(1, shard_bytes // store.key.bytes_per_image))
    first = 1 + max((int(path.stem) for path in store.shards if path.stem.isdecimal()), default=0)
    for number, start in zip(itertools.count(first), range(0, len(images), size)):
        yield store.folder / f"{number:05d}{SUFFIX}", images[start : start + size]


def _compute_shard(
    compute: ComputeRows, images: Images, *, key: TokenKey, batch_size: int, advance: Advance
) -> NDArray[np.float16]:
    """Return the rows ``(images, *shape)`` of one shard."""
    rows = np.empty((len(images), *key.shape), np.float16)
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        # Hours may have passed since the images were hashed: tokens must not get an old name.
        for digest, sample in batch:
            if sample.digest() != digest:
                raise FileError(f"{sample.name} changed while the tokens were computed; run again")
        rows[start : start + len(batch)] = compute(batch)
        advance(len(batch))
    return rows
