"""The format of ``torch.save`` before PyTorch 1.6, which is still written on request.

Four pickles (a magic number, the protocol, the machine, the content), a pickle with the keys of the
storages, then the storages themselves: each the count of its numbers in eight bytes, and these. The
format has no checksums.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import BinaryIO

from motivnet.checkpoints.inert_pickle import MAX_BYTES, values_from_pickle
from motivnet.checkpoints.stand_ins import PickleCutOffError, PickleError, StandIn
from motivnet.checkpoints.stored_tensors import Storage, StorageType
from motivnet.checkpoints.weights import listed
from motivnet.errors import CheckpointError

_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")
"""The number that the first pickle holds, as the bytes of its little-endian form."""
_PROTOCOL = 1001
_MAX_START = 64
_WINDOWS = (1 << 16, 1 << 20, 1 << 24, 1 << 28, MAX_BYTES)
"""A pickle does not say its length: so many bytes of it are tried, one after the other."""
_CUT = "is truncated or damaged; copy or download it again"


def is_legacy(file: BinaryIO) -> bool:
    """Return whether an open file begins with the pickle of the magic number."""
    file.seek(0)
    start = file.read(_MAX_START)
    return start[:1] == b"\x80" and _MAGIC in start


class LegacyFile:
    """The content and the storages of an open file, which has to stay open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._length = file.seek(0, os.SEEK_END)
        self._position = 0
        self._storages: dict[str, Storage] = {}
        self._starts: dict[str, int] = {}

    def read(self, known: Callable[[], Mapping[str, object]]) -> tuple[object, tuple[str, ...]]:
        """Return the content with its stand-ins' names, once the place of each storage is known.

        Args:
            known: Returns the meaning of the names in the pickle, for each try to read it.

        Raises:
            CheckpointError: If the file is cut off, or has other bytes than its storages.
            PickleError: If a pickle in it is malformed or beyond the limits.
        """
        magic, protocol, machine = (self._pickle(dict)[0] for _ in range(3))
        if magic != int.from_bytes(_MAGIC, "little") or protocol != _PROTOCOL:
            raise PickleError("the format has an unknown number")
        if not isinstance(machine, Mapping) or machine.get("little_endian") is not True:
            raise CheckpointError(
                "was written on a machine of another byte order; save it on one like this"
            )
        content, ignored = self._pickle(known)
        keys = self._pickle(dict)[0]
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise PickleError("the keys of the storages are no texts")
        if len(set(keys)) != len(keys) or set(keys) != set(self._storages):
            raise PickleError("it has other storages than its content names")
        for key in keys:
            self._place(self._storages[key])
        if self._position != self._length:
            raise CheckpointError(_CUT)
        return content, ignored

    def read_into(self, buffer: memoryview, name: str, *, offset: int = 0) -> None:
        """Fill a buffer from a storage, which must have as many bytes after ``offset``.

        Raises:
            CheckpointError: If the file was cut meanwhile.
        """
        self._file.seek(self._starts[name] + offset)
        filled = 0
        while filled < len(buffer):
            count = self._file.readinto(buffer[filled:])  # type: ignore[attr-defined] # of every binary file
            if not count:
                raise CheckpointError(_CUT)
            filled += count

    def _pickle(self, known: Callable[[], Mapping[str, object]]) -> tuple[object, tuple[str, ...]]:
        left = self._length - self._position
        for window in _WINDOWS:
            self._file.seek(self._position)
            data = self._file.read(min(window, left))
            try:
                value, ignored, length = values_from_pickle(
                    data, known=known(), persistent=self._object_from_id
                )
            except PickleCutOffError:
                if len(data) < window:
                    break
                continue
            self._position += length
            return value, ignored
        raise CheckpointError(_CUT)

    def _object_from_id(self, identity: object) -> object:
        match identity:
            case ("module", StandIn() as kind, *_):  # the class of a module, with its source text
                return kind
            case ("storage", StandIn() as unknown, *_):
                raise CheckpointError(
                    f"holds numbers of the type {listed([unknown.name])}, which are not read; "
                    "give the weights as floats, best as .safetensors"
                )
            case ("storage", StorageType() as kind, str(key), _, int(count), None) if (
                len(key) < 100 and count >= 0
            ):
                if kind.size(count) > self._length:
                    raise CheckpointError(_CUT)
                storage = Storage(self, key, kind.size(count), kind.dtype)
                if self._storages.setdefault(key, storage) != storage:
                    raise PickleError("a storage has two descriptions")
                return storage
        raise PickleError("the pickle refers to something that is no storage")

    def _place(self, storage: Storage) -> None:
        """Note where a storage begins, and go to its end."""
        width = 1 if storage.dtype is None else storage.dtype.itemsize
        self._file.seek(self._position)
        count = int.from_bytes(self._file.read(8), "little", signed=True)
        self._starts[storage.member] = self._position + 8
        self._position += 8 + storage.size
        if self._position > self._length:
            raise CheckpointError(_CUT)
        if count * width != storage.size:
            raise PickleError("a storage has another size than its description")
