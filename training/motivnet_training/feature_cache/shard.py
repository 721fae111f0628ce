"""One file of the cache: the tokens of some images as safetensors, and which images they are of.

Safetensors has no checksum: the description has one of each image's tokens, and one of itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from motivnet.checkpoints.safetensors_files import atomic_safetensors, check_header
from motivnet.errors import CheckpointError, ConfigError
from motivnet.schema import Schema, SchemaError, decode
from motivnet_training.feature_cache.key import TokenKey

SUFFIX = ".safetensors"
MAX_IMAGES = 2048
"""Per shard, whatever its size: the description stays small enough to be parsed at once."""

_ENTRY = "motivnet-tokens"
_TENSOR = "tokens"
_REMEDY = "delete it and run again"

SHA256: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]

ReadRow: TypeAlias = Callable[[int], NDArray[np.float16]]
"""Returns the tokens ``(N, D)`` of one of a shard's images."""


class ShardDescription(Schema, frozen=True, kw_only=True):
    """The key of a shard, and for each row the hash of the image and the hash of its tokens."""

    key: TokenKey
    images: tuple[SHA256, ...]
    checksums: tuple[SHA256, ...]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.checksums):
            raise ConfigError("there must be as many checksums as images")


class _Entry(Schema, frozen=True, kw_only=True):
    """The description's JSON as it was hashed, and the hash.

    It is the metadata's only entry: the library writes several in an order that differs from
    process to process.
    """

    description: str
    sha256: SHA256


def write_shard(
    path: Path, tokens: NDArray[np.float16], *, key: TokenKey, images: Sequence[str]
) -> None:
    """Write the tokens ``(images, N, D)`` of images with these hashes, for this user alone.

    Raises:
        FileError: If the file cannot be written.
    """
    checksums = tuple(checksum(row) for row in tokens)
    description = ShardDescription(key=key, images=tuple(images), checksums=checksums)
    text = json.dumps(msgspec.to_builtins(description), allow_nan=False)
    entry = json.dumps({"description": text, "sha256": _hash(text)})
    with atomic_safetensors(path, private=True) as temporary:
        save_file({_TENSOR: tokens}, temporary, metadata={_ENTRY: entry})


def read_description(path: Path) -> ShardDescription:
    """Return what a shard holds, after checking all of it but the tokens themselves.

    Raises:
        CheckpointError: If it is truncated, damaged or no shard of tokens.
        FileError: If it is no regular file.
    """
    with _open_shard(path) as file:
        description = _parse_description(path, file.metadata() or {})
        shape = [len(description.images), *description.key.shape]
        tensor = file.get_slice(_TENSOR) if list(file.keys()) == [_TENSOR] else None
        if tensor is None or tensor.get_dtype() != "F16" or tensor.get_shape() != shape:
            raise CheckpointError(f"{path} does not hold the tokens that it describes; {_REMEDY}")
    return description


def open_rows(path: Path) -> ReadRow:
    """Open the tokens of a shard, mapped into memory: only what is asked for is read.

    Raises:
        CheckpointError: If it is truncated or damaged.
        FileError: If it is no regular file.
    """
    with _open_shard(path) as file:
        read: ReadRow = file.get_slice(_TENSOR).__getitem__  # stays open after the block
    return read


def checksum(tokens: NDArray[np.float16]) -> str:
    """Return the hexadecimal SHA-256 of the bytes of one image's tokens."""
    return hashlib.sha256(np.ascontiguousarray(tokens).data).hexdigest()


def damage_error(path: Path) -> CheckpointError:
    """Return the error of a shard whose bytes are not those that were written."""
    return CheckpointError(f"{path} is truncated or damaged; {_REMEDY}")


@contextlib.contextmanager
def _open_shard(path: Path) -> Iterator[Any]:
    try:
        check_header(path)  # also that it is a regular file: safe_open waits for ever on a FIFO
    except CheckpointError as error:
        raise damage_error(path) from error
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except SafetensorError as error:
        raise damage_error(path) from error


def _parse_description(path: Path, metadata: dict[str, str]) -> ShardDescription:
    if set(metadata) != {_ENTRY}:
        raise CheckpointError(
            f"{path} is not a shard of tokens; delete it or move it away, and run again"
        )
    try:
        entry = decode(metadata[_ENTRY].encode(), _Entry)
        if entry.sha256 != _hash(entry.description):
            raise damage_error(path)
        return decode(entry.description.encode(), ShardDescription)
    except (SchemaError, ConfigError) as error:
        raise CheckpointError(
            f"{path} describes its tokens in a way that is not valid: {error}; {_REMEDY}"
        ) from error


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
