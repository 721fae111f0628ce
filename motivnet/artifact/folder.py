"""Reading an artifact's folder: its manifest, and its files once their hashes are checked."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from motivnet import schema
from motivnet.artifact.manifest import FILE_NAME, FileEntry, Manifest
from motivnet.artifact.onnx_graph import check_model
from motivnet.errors import ArtifactError, FileError
from motivnet.files import open_regular, read_bytes, sha256_of_stream
from motivnet.terminal import progress

ARTIFACTS = Path("artifacts")
"""Where every command looks for artifacts and leaves them, below the working directory."""

_State = tuple[int, ...]
"""Device, inode, size and times of an open file; another state means that it was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A folder and the manifest that was read from it.

    Methods that give a file's content raise ArtifactError if its size or hash is not the one in the
    manifest, so that nothing is parsed before its hash was checked, and the same bytes are parsed.
    """

    folder: Path
    manifest: Manifest

    @property
    def has_external_data(self) -> bool:
        """Whether the model's weights are in a file beside it."""
        return self._external_data() is not None

    def model_bytes(self) -> bytes:
        """Return the bytes of the ONNX model, whose graph is one that this toolkit exports.

        Raises:
            ArtifactError: If they are not what the manifest describes, or another graph; see
                ``check_model``.
        """
        data = self.file_bytes(self.manifest.model)
        self._check_graph(data)
        return data

    def file_bytes(self, path: str) -> bytes:
        """Return the bytes of one of the artifact's files.

        Raises:
            ArtifactError: If they are not what the manifest describes, or it names no such file.
        """
        data, _ = self._read(self.manifest.entry(path))
        return data

    @contextlib.contextmanager
    def verified_model_path(self) -> Iterator[Path]:
        """Give the ONNX model's path to a parser that needs one, all its files verified.

        The files are hashed and the graph is checked before the block. After it they must still be
        the same, unmodified files, so that what the parser read is what was hashed.

        Raises:
            ArtifactError: If a file does not match, was changed while the block ran, or is another
                graph than this toolkit exports; see ``check_model``.
        """
        model = self.manifest.entry(self.manifest.model)
        external = self._external_data()
        entries = [model] if external is None else [model, external]
        data, state = self._read(model)
        self._check_graph(data)
        del data
        before = [state, *(self._verify(entry) for entry in entries[1:])]
        yield self._path(model)
        if before != [self._state(entry) for entry in entries]:
            raise ArtifactError(
                f"the files of {self.folder} changed while they were opened; try again"
            )

    def regular_path(self, path: str) -> Path:
        """Return the path of one of the artifact's files, for a copy.

        Raises:
            ArtifactError: If it is not a regular file of the size in the manifest.
        """
        entry = self.manifest.entry(path)
        with self._open(entry):
            return self._path(entry)

    def verify_files(self) -> None:
        """Check the size and the hash of every file.

        Raises:
            ArtifactError: Naming the first file that does not match.
        """
        for entry in self.manifest.files:
            self._verify(entry)

    def _external_data(self) -> FileEntry | None:
        path = f"{self.manifest.model}.data"
        return next((entry for entry in self.manifest.files if entry.path == path), None)

    def _check_graph(self, data: bytes) -> None:
        if self.manifest.kind != "onnx":
            raise ArtifactError(f"{self.folder} is an engine alone and holds no ONNX graph")
        external = self._external_data()
        check_model(data, self.manifest, data_bytes=None if external is None else external.size)

    def _path(self, entry: FileEntry) -> Path:
        folder = self.folder.resolve()
        path = folder / entry.path
        if path.resolve() != path:
            raise ArtifactError(
                f"{entry.path} is or lies behind a symbolic link, which is not followed "
                "in an artifact"
            )
        return path

    @contextlib.contextmanager
    def _open(self, entry: FileEntry) -> Iterator[BinaryIO]:
        try:
            with open_regular(self._path(entry), follow_links=False) as file:
                # Before reading: a sparse file may claim a terabyte.
                if os.fstat(file.fileno()).st_size != entry.size:
                    raise _changed(entry)
                yield file
        except FileError as error:
            raise ArtifactError(f"{error}; the artifact is damaged, build it again") from error
        except OSError as error:
            raise ArtifactError(
                f"{entry.path} cannot be read: {error.strerror or error}"
            ) from error

    def _read(self, entry: FileEntry) -> tuple[bytes, _State]:
        with self._open(entry) as file:
            state = _state_of(file)
            data = file.read(entry.size + 1)  # one byte more shows that it has grown
        if len(data) != entry.size or sha256_of_stream(io.BytesIO(data)) != entry.sha256:
            raise _changed(entry)
        return data, state

    def _verify(self, entry: FileEntry) -> _State:
        with (
            self._open(entry) as file,
            progress(f"verifying {entry.path}", total=entry.size) as advance,
        ):
            state = _state_of(file)
            digest = sha256_of_stream(file, on_chunk=lambda chunk: advance(len(chunk)))
        if digest != entry.sha256:
            raise _changed(entry)
        return state

    def _state(self, entry: FileEntry) -> _State:
        with self._open(entry) as file:
            return _state_of(file)


def open_artifact(folder: Path | str) -> Artifact:
    """Return the artifact in a folder; only its manifest is read.

    Raises:
        ArtifactError: If the folder is not an artifact or its manifest is not valid.
    """
    folder = Path(folder)
    if folder.is_file():
        raise ArtifactError(
            f"{folder} is a file; give the artifact's folder, the one with {FILE_NAME} in it"
        )
    if not folder.is_dir():
        raise ArtifactError(
            f"{folder} does not exist; build an artifact with: motivnet-export build"
        )
    path = folder / FILE_NAME
    if not path.exists():
        raise ArtifactError(f"{folder} is not an artifact: it has no {FILE_NAME}")
    try:
        data = read_bytes(path, max_bytes=schema.MAX_BYTES, follow_links=False)
        return Artifact(folder=folder, manifest=Manifest.from_json(data))
    except (ArtifactError, FileError) as error:
        raise ArtifactError(f"{path}: {error}") from error


def has_manifest(folder: Path) -> bool:
    """Return whether a folder has a ``manifest.json``, also of others: web apps have one too."""
    return os.path.lexists(folder / FILE_NAME)


def newest_artifact(root: Path) -> Path:
    """Return the artifact folder below ``root`` whose manifest was written last.

    Raises:
        ArtifactError: If there is none.
    """
    manifests = sorted(root.glob(f"*/{FILE_NAME}"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        raise ArtifactError(
            f"there is no artifact in {root}/; build one with: motivnet-export build"
        )
    return manifests[-1].parent


def _state_of(file: BinaryIO) -> _State:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _changed(entry: FileEntry) -> ArtifactError:
    return ArtifactError(
        f"{entry.path} is not the file that the manifest describes (SHA-256 or size differ); "
        "it was changed or damaged, build the artifact again"
    )
