"""The kernels that TensorRT-RTX compiles when an engine first runs, kept for the next start.

**The file holds native code that is run without asking.** So it lies in the user's own cache and is
never looked for beside an artifact, which may come from anywhere. It is read only if it belongs to
this user and is closed to others (mode 0600). The bytes are as TensorRT-RTX gave them; a JSON file
beside them has their hash, which reveals damage. TensorRT-RTX itself refuses kernels of another
GPU, driver or version.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from pathlib import Path

from motivnet.errors import FileError
from motivnet.files import open_regular, write_atomic
from motivnet.schema import Schema, SchemaError, decode, encode
from motivnet.workspace import write_lock
from motivnet_engines.system.user_folders import make_private, user_cache

logger = logging.getLogger(__name__)

MAX_BYTES = 1 << 30


class CacheRecord(Schema, frozen=True, kw_only=True):
    """The JSON file: the engine that the kernels are of, and their SHA-256."""

    engine: str
    sha256: str


class KernelCache:
    """The compiled kernels of one engine on one kind of GPU.

    Args:
        engine: The SHA-256 of its file.
        sm: The GPU's compute capability, such as ``86``.
    """

    def __init__(self, engine: str, *, sm: str) -> None:
        self._engine = engine
        self._name = f"{engine}.sm{sm}.rtx-cache"
        self._read: bytes | None = None

    def read(self) -> bytes | None:
        """Return the kernels of an earlier run, None if there are none to use; never an error."""
        try:
            path = user_cache() / self._name
            if not os.path.lexists(path):
                return None
            kernels = _read_private(path)
            record = decode(_read_private(_record_path(path)), CacheRecord)
            if record != self._record(kernels):
                raise FileError(f"{path} is damaged or of another engine")
        except (FileError, SchemaError) as error:
            logger.warning("the compiled kernels of an earlier run are not used: %s", error)
            return None
        self._read = kernels
        return kernels

    def write(self, kernels: bytes | None) -> None:
        """Keep the kernels for the next run, unless they were read from it; never an error."""
        if not kernels or kernels == self._read or len(kernels) > MAX_BYTES:
            return
        try:
            path = make_private(user_cache()) / self._name
            with write_lock(path) as alone:
                if alone:
                    write_atomic(path, kernels, private=True)
                    record = encode(self._record(kernels))
                    write_atomic(_record_path(path), record, private=True)
        except (FileError, OSError) as error:
            logger.warning(
                "the compiled kernels are not kept, the next start compiles them again: %s", error
            )

    def _record(self, kernels: bytes) -> CacheRecord:
        return CacheRecord(engine=self._engine, sha256=hashlib.sha256(kernels).hexdigest())


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read_private(path: Path) -> bytes:
    """Return the content of a file, if it is this user's own and closed to others."""
    with open_regular(path, max_bytes=MAX_BYTES, follow_links=False) as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise FileError(f"{path} is another user's or open to others; remove it")
        return file.read(MAX_BYTES)
