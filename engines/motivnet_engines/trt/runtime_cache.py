"""TensorRT-RTX compiles kernels when an engine first runs; this keeps them, so that the next start does not wait.

The file lies beside the artifact's folder (the manifest does not name it, and the folder may not change), or in the
user's cache where that place cannot be written. **It holds native code that is run without another question.** Who
can write it could as well replace the artifact itself, which lies in the same folder; still, only a file of this
user's own that nobody else may write is read (mode 0600), and a hash over its content finds damage. TensorRT-RTX
itself refuses the kernels of another GPU, driver or version.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from pathlib import Path

from motivnet.artifact import Artifact
from motivnet.errors import FileError
from motivnet.files import make_folder, open_regular, write_atomic
from motivnet.manifest import EngineEntry
from motivnet.workspace import sole_writer
from motivnet_engines.user_cache import user_cache

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
        folder = artifact.folder.resolve()
        self._beside = folder.parent / f".{folder.name}.sm{sm}.rtx-cache"
        self._in_home = user_cache() / f"{self._engine_sha256}.sm{sm}.rtx-cache"
        self._read: bytes | None = None

    def read(self) -> bytes | None:
        """The kernels of an earlier run, None where there are none that may be used; never an error."""
        for path in (self._beside, self._in_home):
            try:
                self._read = self._kernels(path)
            except FileError as error:
                if path.exists():
                    logger.warning("the compiled kernels of an earlier run are not used: %s", error)
                continue
            return self._read
        return None

    def write(self, kernels: bytes | None) -> None:
        """Keeps the kernels for the next run, unless they are the ones read; never an error."""
        if not kernels or kernels == self._read or len(kernels) > MAX_BYTES:
            return
        problems = []
        for path in (self._beside, self._in_home):
            try:
                self._write(path, kernels)
            except (FileError, OSError) as error:
                problems.append(str(error))
                continue
            return
        logger.warning("the compiled kernels are not kept, the next start compiles them again: %s", problems[-1])

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
        make_folder(path.parent, private=True)
        with sole_writer(path) as alone:
            if alone:
                write_atomic(path, self._header(kernels) + kernels, private=True)

    def _header(self, kernels: bytes) -> bytes:
        digest = hashlib.sha256(kernels).hexdigest()
        return b" ".join([_MAGIC, self._engine_sha256.encode(), digest.encode()]) + b"\n"
