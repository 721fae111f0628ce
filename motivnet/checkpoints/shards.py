"""Weights in several files, with an index that says in which of them each weight is.

The index is ``model.safetensors.index.json`` or ``pytorch_model.bin.index.json``, as Hugging Face's
libraries write it.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from motivnet.checkpoints.weights import listed
from motivnet.errors import CheckpointError, FileError
from motivnet.files import read_bytes, sha256_of
from motivnet.schema import SchemaError, decode

INDEX = ".index.json"
FILES_IN_FOLDER = (
    f"model.safetensors{INDEX}",
    "model.safetensors",
    f"pytorch_model.bin{INDEX}",
    "pytorch_model.bin",
)
"""What a folder of weights holds one of, in the order in which it is looked for."""
MAX_INDEX = 8 << 20
_MAX_SHARDS = 1_000
_SHARD = re.compile(r".*-(\d{5})-of-(\d{5})\.\w+")


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """What an index says; its metadata, such as the total size, is not needed."""

    weight_map: dict[str, str]

    @property
    def shards(self) -> tuple[str, ...]:
        """The names of the files, in their order."""
        return tuple(sorted(set(self.weight_map.values())))


def find_weights_file(path: Path) -> Path:
    """Return the file, or the file of weights or of their index in a folder.

    Raises:
        FileError: If the folder holds none.
    """
    if not is_folder(path):
        return path
    for name in FILES_IN_FOLDER:
        if (path / name).is_file():
            return path / name
    raise FileError(
        f"{path} is a directory with no model.safetensors or pytorch_model.bin, nor their {INDEX}; "
        "give a weights file"
    )


def is_shard(path: Path) -> bool:
    """Return whether a file's name says that it holds a part of the weights."""
    return _SHARD.fullmatch(path.name) is not None


def is_index(path: Path) -> bool:
    """Return whether a file's name is that of an index."""
    return path.name.endswith(INDEX)


def read_index(path: Path) -> Index:
    """Return the index in a file, whose shards are beside it.

    Raises:
        CheckpointError: If it is no index, names files in other folders or not all shards.
        FileError: If it cannot be read.
    """
    try:
        index = decode(read_bytes(path, max_bytes=MAX_INDEX), Index, max_bytes=MAX_INDEX)
    except SchemaError as error:
        raise CheckpointError(f"is no index of sharded weights: {error}") from error
    shards = index.shards
    if not shards or len(shards) > _MAX_SHARDS:
        raise CheckpointError(f"names {len(shards):,} shards; 1 to {_MAX_SHARDS:,} are allowed")
    outside = [name for name in shards if set(name) & set("/\\\0") or name in ("", ".", "..")]
    if outside:
        raise CheckpointError(f"names a shard outside its folder: {listed(outside)}")
    if missing := _unnamed(shards):
        raise CheckpointError(f"does not name all shards; {listed(missing)} is in no entry")
    return index


def merge_shards(index: Index, contents: Mapping[str, object]) -> dict[str, object]:
    """Return the values of all shards, which hold exactly what the index says.

    Args:
        contents: What each shard holds, by its name.

    Raises:
        CheckpointError: If a key is in two shards, in another one, or in none.
    """
    merged: dict[str, object] = {}
    for name, content in contents.items():
        if not isinstance(content, Mapping):
            raise CheckpointError(f"has a shard that holds no state dict, {name}")
        if twice := [key for key in content if key in merged]:
            raise CheckpointError(f"has keys in two shards, one of them {name}: {listed(twice)}")
        if wrong := [key for key in content if index.weight_map.get(key) != name]:
            raise CheckpointError(f"does not say that {name} holds {listed(wrong)}")
        merged |= content
    if missing := [key for key in index.weight_map if key not in merged]:
        raise CheckpointError(
            f"names keys that are not in their shard, {index.weight_map[missing[0]]}: "
            f"{listed(missing)}"
        )
    return merged


def sha256_of_weights(path: Path, *, on_bytes: Callable[[int], None] = lambda _: None) -> str:
    """Return the SHA-256 of a weights file; for an index, one over the index and all its shards.

    It is that of what ``sha256sum`` prints of these files, in the order of their names.
    """
    path = find_weights_file(path)
    if not is_index(path):
        return sha256_of(path, on_bytes=on_bytes)
    with naming(path):
        names = sorted((path.name, *read_index(path).shards))
    lines = ""
    for name in names:
        with shard_errors(path):
            lines += f"{sha256_of(path.parent / name, on_bytes=on_bytes)}  {name}\n"
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name before the message of an error."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from error


@contextlib.contextmanager
def shard_errors(index: Path) -> Iterator[None]:
    """Say which index names the file that an error is about."""
    try:
        yield
    except FileError as error:
        raise FileError(f"{error} ({index.name} names it)") from error


def is_folder(path: Path) -> bool:
    """Return whether a path is certainly a folder."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False  # opening it as a file says why


def _unnamed(shards: tuple[str, ...]) -> list[str]:
    """Return the shards of ``NAME-00001-of-00003`` that are missing from their number."""
    missing = []
    for match in filter(None, map(_SHARD.fullmatch, shards)):
        count = int(match[2])
        if count > _MAX_SHARDS:
            raise CheckpointError(f"names a shard of {count:,}; {_MAX_SHARDS:,} are allowed")
        for number in range(1, count + 1):
            name = match[0][: match.start(1)] + f"{number:05}" + match[0][match.end(1) :]
            if name not in shards:
                missing.append(name)
    return list(dict.fromkeys(missing))
