"""Files of ``torch.save``: tensors and plain values, read without ``torch.load``.

Even with ``weights_only`` PyTorch compares no checksum, and a file of a few hundred bytes can take
any amount of memory. Here no tensor is larger than the bytes that are stored for it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import torch

from motivnet.checkpoints.inert_pickle import MAX_BYTES, values_from_pickle
from motivnet.checkpoints.stand_ins import PickleError, PickleTooLargeError, StandIn
from motivnet.checkpoints.stored_tensors import (
    Storage,
    StorageType,
    StoredTensor,
    known_names,
    shared_tensors,
)
from motivnet.checkpoints.torch_archive import TorchArchive
from motivnet.checkpoints.torch_legacy import LegacyFile, is_legacy
from motivnet.checkpoints.weights import listed
from motivnet.errors import CheckpointError

_MAX_DEPTH = 64
_MAX_VALUES = 2_000_000


def read_torch_file(file: BinaryIO) -> tuple[object, tuple[str, ...]]:
    """Return what a file of ``torch.save`` holds, in the zip format or the one before it.

    Its tensors are ``StoredTensor``, to be loaded while the file is open. Of all other objects
    there are stand-ins; the names of these come second.

    Raises:
        CheckpointError: If the file is damaged.
    """
    with _pickle_errors():
        if is_legacy(file):
            return LegacyFile(file).read(lambda: known_names(lambda stored: stored))
        return _archive_content(file, made=lambda stored: stored)


def read_archive(file: BinaryIO, *, device: Literal["cpu", "meta"] = "cpu") -> object:
    """Return the content of an archive of ``torch.save``: tensors and plain values.

    Args:
        device: ``meta`` returns tensors of the right shape without values: every byte's checksum is
            compared and the structure is read, but no memory is needed for the weights.

    Raises:
        CheckpointError: If the archive is damaged or holds anything else, values that hold
            themselves, or values nested so deeply or shared so often that walking them would have
            no end.
    """
    with _pickle_errors():
        content, ignored = _archive_content(file, made=shared_tensors(device))
    if ignored:
        raise CheckpointError(
            f"asks for the Python object {listed(ignored)}, which is refused because it could run "
            "code; save only tensors and plain values"
        )
    _check_tree(content)
    return content


def write_archive(content: object, path: Path) -> None:
    """Write ``content`` as an archive through a Python file, whose errors say why a write failed.

    Raises:
        OSError: If the system refuses; call it inside ``motivnet.files.atomic_path``.
    """
    handled = sys.exc_info()[1]
    with path.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # What stopped the writing, an OSError or an interruption, is hidden by the failure to
            # end the archive.
            hidden = error.__context__
            if hidden is None or hidden is handled:
                raise
            raise hidden from None


def _archive_content(
    file: BinaryIO, *, made: Callable[[StoredTensor], object]
) -> tuple[object, tuple[str, ...]]:
    archive = TorchArchive(file)
    is_told = archive.size("byteorder") is not None
    if is_told and archive.read("byteorder", max_bytes=16) != sys.byteorder.encode():
        raise CheckpointError(
            "was written on a machine of another byte order; save it on one like this"
        )
    content, ignored, _ = values_from_pickle(
        archive.read("data.pkl", max_bytes=MAX_BYTES),
        known=known_names(made),
        persistent=lambda identity: _storage_from_id(identity, archive),
    )
    return content, ignored


@contextlib.contextmanager
def _pickle_errors() -> Iterator[None]:
    try:
        yield
    except PickleTooLargeError as error:
        raise CheckpointError(
            f"holds too much beside its weights: {error}; give them alone, best as .safetensors"
        ) from error
    except PickleError as error:
        raise CheckpointError(
            f"is damaged, or not as torch.save writes it ({error}); copy or download it again"
        ) from error
    except MemoryError as error:
        raise CheckpointError("does not fit into this machine's memory") from error


def _storage_from_id(identity: object, archive: TorchArchive) -> Storage | StandIn:
    """Return the storage that a pickle refers to; a stand-in for a type that weights never have.

    Raises:
        PickleError: If the archive does not have it, or in another size.
    """
    match identity:
        case ("storage", StandIn() as unknown, str(), _, int()):
            return unknown
        case ("storage", StorageType() as kind, str(key), _, int(count)) if len(key) < 100:
            size = archive.size(f"data/{key}")
            if size is None or size != kind.size(count):
                raise PickleError("a storage has another size than its description")
            return Storage(archive, f"data/{key}", size, kind.dtype)
    raise PickleError("the pickle refers to something that is no storage")


def _check_tree(content: object) -> None:
    """Refuse content that is nested too deep or shared too often to walk by recursion.

    The depth of each container and the number of values in it are counted once, after its parts.
    """
    measured: dict[int, tuple[int, int]] = {}
    open_above: set[int] = set()
    waiting: list[tuple[object, bool]] = [(content, False)]
    while waiting:
        value, parts_are_done = waiting.pop()
        if not isinstance(value, (dict, list, tuple)) or id(value) in measured:
            continue
        parts = list(value.values() if isinstance(value, dict) else value)
        if parts_are_done:
            open_above.discard(id(value))
            measured[id(value)] = _measure([measured.get(id(part), (0, 1)) for part in parts])
        elif id(value) in open_above:
            raise CheckpointError(
                "holds a value that holds itself; save only tensors and plain values"
            )
        else:
            open_above.add(id(value))
            waiting.append((value, True))
            waiting += [(part, False) for part in parts]


def _measure(parts: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the depth and the number of values of a container of these parts."""
    depth = 1 + max((depth for depth, _ in parts), default=0)
    count = 1 + sum(count for _, count in parts)
    if depth > _MAX_DEPTH or count > _MAX_VALUES:
        raise CheckpointError(
            f"is nested deeper than {_MAX_DEPTH} levels or holds more than {_MAX_VALUES:,} values; "
            "save only tensors and plain values"
        )
    return depth, count
