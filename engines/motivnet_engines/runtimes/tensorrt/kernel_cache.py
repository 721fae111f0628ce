"""TensorRT-RTX compiles kernels when an engine first runs; this keeps them, so that the next start
does not wait.

**The file holds native code that is run without another question**, and so it lies in the user's own cache and is never
looked for beside an artifact, which may come from anywhere. Only a file of this user's own that
nobody else may write is read (mode 0600), and a hash over its content finds damage. TensorRT-RTX
itself refuses the kernels of another GPU, driver or version.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from pathlib import Path

from motivnet.artifact import Artifact
from motivnet.artifact.manifest import EngineEntry
from motivnet.errors import FileError
from motivnet.files import open_regular, write_atomic
from motivnet.workspace import sole_writer
from motivnet_engines.system.user_folders import made_private, user_cache

logger = logging.getLogger(__name__)

MAX_BYTES = 1 << 30
_MAGIC = b"motivnet rtx-cache 1"
_HEADER_BYTES = len(_MAGIC) + 2 * (1 + 64) + 1


class RuntimeCache:
    """The compiled kernels of one engine on one kind of GPU.

    Args:
        artifact: Whose engine.
        entry: Which engine.
        sm: The GPU's compute capability, such as ``86``.
    """

    def __init__(self, artifact: Artifact, entry: EngineEntry, *, sm: str) -> None:
        self._engine_sha256 = artifact.manifest.entry(entry.path).sha256
        self._name = f"{self._engine_sha256}.sm{sm}.rtx-cache"
        self._read: bytes | None = None

    def read(self) -> bytes | None:
        """The kernels of an earlier run, None where there are none that may be used; never an error."""
        try:
            path = user_cache() / self._name
            if not os.path.lexists(path):
                return None
            self._read = self._kernels(path)
        except FileError as error:
            logger.warning("the compiled kernels of an earlier run are not used: %s", error)
        return self._read

    def write(self, kernels: bytes | None) -> None:
        """Keeps the kernels for the next run, unless they are the ones read; never an error."""
        if not kernels or kernels == self._read or len(kernels) > MAX_BYTES:
            return
        try:
            self._write(made_private(user_cache()) / self._name, kernels)
        except (FileError, OSError) as error:
            logger.warning(
                "the compiled kernels are not kept, the next start compiles them again: %s", error
            )

    def _kernels(self, path: Path) -> bytes:
        with open_regular(path, max_bytes=MAX_BYTES + _HEADER_BYTES, follow_links=False) as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                raise FileError(f"{path} is another user's or open to others; remove it")
            data = file.read(MAX_BYTES + _HEADER_BYTES)
        header, kernels = data[:_HEADER_BYTES], data[_HEADER_BYTES:]
        if header != self._header(kernels):
            raise FileError(f"{path} is damaged or of another engine")
        return kernels

    def _write(self, path: Path, kernels: bytes) -> None:
        with sole_writer(path) as alone:
            if alone:
                write_atomic(path, self._header(kernels) + kernels, private=True)

    def _header(self, kernels: bytes) -> bytes:
        digest = hashlib.sha256(kernels).hexdigest()
        return b" ".join([_MAGIC, self._engine_sha256.encode(), digest.encode()]) + b"\n"
