"""One file of the cache: the tokens of some images as safetensors, and which images they are of.

Safetensors has no checksum. Ours are one SHA-256 over the description and, inside it, one over the
tokens of each image, so that an image's tokens can be checked without reading those of the others.
The metadata has a single entry, because the library writes several in an order that differs from
process to process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

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

SHA256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Rows(Protocol):
    """The tokens of a shard's images, read one image at a time."""

    def __getitem__(self, row: int, /) -> NDArray[np.float16]:
        """Return the tokens ``(N, D)`` of one image."""


class ShardDescription(Schema, frozen=True, kw_only=True):
    """The key of a shard, and for each row the hash of the image and the hash of its tokens."""

    key: TokenKey
    images: tuple[SHA256, ...]
    checksums: tuple[SHA256, ...]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.checksums):
            raise ConfigError("there must be as many checksums as images")


class _Entry(Schema, frozen=True, kw_only=True):
    """The metadata's only entry: the description's JSON as it was hashed, and the hash."""

    description: str
    sha256: SHA256


def write_shard(
    path: Path, tokens: NDArray[np.float16], *, key: TokenKey, images: Sequence[str]
) -> None:
    """Write the tokens ``(images, N, D)`` of images with these hashes, for this user alone.

    The file is written whole or not at all.

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


def open_rows(path: Path) -> Rows:
    """Return the tokens of a shard, mapped into memory: only what is asked for is read.

    Raises:
        CheckpointError: If it is truncated or damaged.
        FileError: If it is no regular file.
    """
    with _open_shard(path) as file:
        rows: Rows = file.get_slice(_TENSOR)  # stays open after the block
    return rows


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
        entry = decode(_bytes(metadata[_ENTRY]), _Entry)
        if entry.sha256 != _hash(entry.description):
            raise damage_error(path)
        return decode(_bytes(entry.description), ShardDescription)
    except (SchemaError, ConfigError) as error:
        raise CheckpointError(
            f"{path} describes its tokens in a way that is not valid: {error}; {_REMEDY}"
        ) from error


def _hash(text: str) -> str:
    return hashlib.sha256(_bytes(text)).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
