"""A weights file of any known kind, opened: what it holds by its own keys.

A file is recognised by its first bytes, never by its name; only an index of shards, which is JSON
like others, is recognised by both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from motivnet.checkpoints.file_kinds import START, kind_of_file
from motivnet.checkpoints.safetensors_files import Description, read_safetensors
from motivnet.checkpoints.shards import (
    find_weights_file,
    is_index,
    merge_shards,
    naming,
    read_index,
    shard_errors,
)
from motivnet.checkpoints.torch_files import read_torch_file
from motivnet.checkpoints.torch_legacy import is_legacy
from motivnet.errors import CheckpointError, FileError
from motivnet.files import open_regular


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """What a file holds, its description, and the names of objects that were left out."""

    content: object
    description: Description | None = None
    has_checksum: bool = True
    ignored: tuple[str, ...] = ()


@contextlib.contextmanager
def open_stored_file(path: Path) -> Iterator[StoredFile]:
    """Open a weights file, an index of shards, or the folder of either.

    Raises:
        CheckpointError: If it is damaged or of an unknown kind; the message has the file's name.
        FileError: If it is missing, not a regular file or not readable.
    """
    path = find_weights_file(path)
    with naming(path), _system_errors(path), contextlib.ExitStack() as stack:
        yield _open_shards(path, stack) if is_index(path) else _open_one(path, stack)


def _open_one(path: Path, stack: contextlib.ExitStack) -> StoredFile:
    file = stack.enter_context(open_regular(path))
    start = file.read(START)
    if not start:
        raise CheckpointError("is empty; copy or download it again")
    if start.startswith(b"PK\x03\x04") or is_legacy(file):
        content, ignored = read_torch_file(file)
        is_zip = start.startswith(b"PK")
        return StoredFile(content=content, ignored=ignored, has_checksum=is_zip)
    if start[8:9] == b"{":
        tensors, description = read_safetensors(path)
        return StoredFile(
            content=tensors, description=description, has_checksum=description is not None
        )
    raise CheckpointError(kind_of_file(start))


def _open_shards(path: Path, stack: contextlib.ExitStack) -> StoredFile:
    index = read_index(path)
    files: dict[str, StoredFile] = {}
    for name in index.shards:
        with shard_errors(path):
            try:
                files[name] = _open_one(path.parent / name, stack)
            except CheckpointError as error:
                raise CheckpointError(f"has a shard that cannot be used: {name} {error}") from error
    return StoredFile(
        content=merge_shards(index, {name: file.content for name, file in files.items()}),
        has_checksum=all(file.has_checksum for file in files.values()),
        ignored=tuple(dict.fromkeys(name for file in files.values() for name in file.ignored)),
    )


@contextlib.contextmanager
def _system_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
    except (MemoryError, RuntimeError) as error:  # PyTorch's allocator raises no MemoryError
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        raise CheckpointError(
            "is for a model that does not fit into this machine's memory"
        ) from error
