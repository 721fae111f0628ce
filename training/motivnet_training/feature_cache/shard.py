"""One file of the cache: the tokens of some images as safetensors, its metadata saying which images
they are of.

Safetensors has no checksum of its own. Ours are one SHA-256 over the description and, in it, one
over the tokens of each image, so that an image's tokens can be checked without reading those of the
others. The metadata has a single entry, because the library orders several anew in each process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from motivnet import strict_json
from motivnet.checkpoints.safetensors_files import atomic_safetensors, check_header
from motivnet.errors import CheckpointError, ConfigError
from motivnet_training.feature_cache.key import TokenKey

SUFFIX = ".safetensors"
MAX_IMAGES = 2048
"""Of one shard, whatever it weighs: its description stays small enough to be parsed at once."""

_ENTRY = "motivnet-tokens"
_TENSOR = "tokens"
_AGAIN = "delete it and run again"
_SHA256 = re.compile("[0-9a-f]{64}")


class Rows(Protocol):
    """The tokens of a shard's images, read one image at a time."""

    def __getitem__(self, row: int, /) -> NDArray[np.float16]:
        """The tokens ``(N, D)`` of one image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardDescription:
    """What a shard says of itself: its key, and of each row the hash of the image and the hash of its tokens."""

    key: TokenKey
    images: tuple[str, ...]
    checksums: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.checksums) or not all(
            map(_SHA256.fullmatch, self.images + self.checksums)
        ):
            raise ConfigError("images and checksums must be as many SHA-256 hashes each")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """The metadata's one entry: the description's JSON as it was hashed, and the hash."""

    description: str
    sha256: str


def write_shard(
    path: Path, tokens: NDArray[np.float16], *, key: TokenKey, images: Sequence[str]
) -> None:
    """Writes the tokens ``(images, N, D)`` of images with these hashes, for this user alone, whole
    or not at all.

    Raises:
        FileError: If the file cannot be written.
    """
    checksums = tuple(checksum(row) for row in tokens)
    description = ShardDescription(key=key, images=tuple(images), checksums=checksums)
    text = json.dumps(asdict(description), allow_nan=False)
    entry = _Entry(description=text, sha256=_hash(text))
    with atomic_safetensors(path, private=True) as temporary:
        save_file({_TENSOR: tokens}, temporary, metadata={_ENTRY: json.dumps(asdict(entry))})


def read_description(path: Path) -> ShardDescription:
    """What a shard holds, after checking all of it but the tokens themselves.

    Raises:
        CheckpointError: If it is truncated, damaged or no shard of tokens.
        FileError: If it is no regular file.
    """
    with _opened(path) as file:
        description = _described(path, file.metadata() or {})
        shape = [len(description.images), *description.key.shape]
        tensor = file.get_slice(_TENSOR) if list(file.keys()) == [_TENSOR] else None
        if tensor is None or tensor.get_dtype() != "F16" or tensor.get_shape() != shape:
            raise CheckpointError(f"{path} does not hold the tokens that it describes; {_AGAIN}")
    return description


def open_rows(path: Path) -> Rows:
    """The tokens of a shard, mapped into memory: what is not asked for is not read.

    Raises:
        CheckpointError: If it is truncated or damaged.
        FileError: If it is no regular file.
    """
    with _opened(path) as file:
        rows: Rows = file.get_slice(_TENSOR)  # stays open by itself
    return rows


def checksum(tokens: NDArray[np.float16]) -> str:
    """Hexadecimal SHA-256 of the bytes of one image's tokens."""
    return hashlib.sha256(np.ascontiguousarray(tokens).data).hexdigest()


def damaged(path: Path) -> CheckpointError:
    """The error of a shard whose bytes are not those that were written."""
    return CheckpointError(f"{path} is truncated or damaged; {_AGAIN}")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        check_header(path)  # also that it is a regular file: safe_open waits for ever on a FIFO
    except CheckpointError as error:
        raise damaged(path) from error
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except SafetensorError as error:
        raise damaged(path) from error


def _described(path: Path, metadata: dict[str, str]) -> ShardDescription:
    if set(metadata) != {_ENTRY}:
        raise CheckpointError(
            f"{path} is not a shard of tokens; delete it or move it away, and run again"
        )
    try:
        entry = strict_json.build(_Entry, _loads(metadata[_ENTRY]))
        if entry.sha256 != _hash(entry.description):
            raise damaged(path)
        return strict_json.build(ShardDescription, _loads(entry.description))
    except (strict_json.StrictJSONError, ConfigError) as error:
        raise CheckpointError(
            f"{path} describes its tokens in a way that is not valid: {error}; {_AGAIN}"
        ) from error


def _loads(text: str) -> Any:
    return strict_json.loads(text.encode("utf-8", "surrogatepass"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
