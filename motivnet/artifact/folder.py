"""Reading an artifact's folder: its manifest, and its files once their hashes are checked."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from motivnet import schema
from motivnet.artifact.manifest import FILE_NAME, FileEntry, Manifest
from motivnet.artifact.onnx_graph import check_model
from motivnet.errors import ArtifactError, FileError
from motivnet.files import (
    is_refusal,
    list_folder,
    open_regular,
    read_bytes,
    sha256_of_stream,
    write_errors,
)
from motivnet.folders import link_or_copy
from motivnet.path_kind import is_folder, kind_of
from motivnet.terminal import progress
from motivnet.workspace import workspace

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
        with self._without_links(entries) as artifact:
            data, state = artifact._read(model)
            self._check_graph(data)
            del data
            before = [state, *(artifact._verify(entry) for entry in entries[1:])]
            yield artifact._path(model)
            if before != [artifact._state(entry) for entry in entries]:
                raise ArtifactError(
                    f"the files of {self.folder} changed while they were opened; try again"
                )

    def regular_path(self, path: str) -> Path:
        """Return the path of one of the artifact's files, for a copy: that of the file itself.

        Raises:
            ArtifactError: If it is not a regular file of the size in the manifest.
        """
        entry = self.manifest.entry(path)
        with self._open(entry):
            return self._path(entry).resolve()

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
        return self.folder.absolute() / entry.path

    @contextlib.contextmanager
    def _without_links(self, entries: Iterable[FileEntry]) -> Iterator[Artifact]:
        """Give an artifact whose files are no links: this one, or one of hard links to its files.

        A parser that gets a path refuses weights that a link puts outside the graph's folder, as
        the caches of model hubs do. What cannot be linked is copied.
        """
        folder = os.path.realpath(self.folder)
        paths = [Path(folder, entry.path) for entry in entries]
        if all(os.path.realpath(path) == str(path) for path in paths):
            yield self
            return
        with contextlib.ExitStack() as stack:
            try:
                place = stack.enter_context(workspace(Path(folder, "model"), private=True))
            except OSError:  # a read-only folder
                place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for entry in entries:
                target = place / entry.path
                with write_errors(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    link_or_copy(self.regular_path(entry.path), target)
            yield Artifact(folder=place, manifest=self.manifest)

    @contextlib.contextmanager
    def _open(self, entry: FileEntry) -> Iterator[BinaryIO]:
        try:
            with open_regular(self._path(entry)) as file:
                # Before reading: a sparse file may claim a terabyte.
                if os.fstat(file.fileno()).st_size != entry.size:
                    raise _changed(entry)
                yield file
        except FileError as error:
            advice = "" if is_refusal(error) else "; the artifact is damaged, build it again"
            raise ArtifactError(f"{error}{advice}") from error
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


ADVICE = "; copy the artifact again, or build it again with: motivnet-export build"
"""What to do about a manifest that is not valid; ends the message."""


def open_artifact(folder: Path | str) -> Artifact:
    """Return the artifact in a folder; only its manifest is read.

    Raises:
        ArtifactError: If the folder is not an artifact or its manifest is not valid.
    """
    folder = Path(folder)
    path = folder / FILE_NAME
    try:
        _check_folder(folder)
        data = read_bytes(path, max_bytes=schema.MAX_BYTES)
    except FileError as error:
        raise ArtifactError(str(error)) from error
    try:
        return Artifact(folder=folder, manifest=Manifest.from_json(data))
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}{ADVICE}") from error


def _check_folder(folder: Path) -> None:
    kind = kind_of(folder)
    if kind is None:
        raise ArtifactError(
            f"{folder} does not exist; build an artifact with: motivnet-export build"
        )
    if kind != "folder":
        raise ArtifactError(
            f"{folder} is a file; give the artifact's folder, the one with {FILE_NAME} in it"
        )
    if not has_manifest(folder) and kind_of(folder / FILE_NAME) is None:
        raise ArtifactError(f"{folder} is not an artifact: it has no {FILE_NAME}")


def has_manifest(folder: Path) -> bool:
    """Return whether a folder has a ``manifest.json``, also of others: web apps have one too."""
    return os.path.lexists(folder / FILE_NAME)


def newest_artifact(root: Path) -> Path:
    """Return the artifact folder below ``root`` whose manifest was written last.

    Raises:
        ArtifactError: If there is none.
    """
    try:
        entries = list_folder(root) if is_folder(root) else []
    except FileError as error:
        raise ArtifactError(f"no artifact can be chosen: {error}; name one") from error
    times = {folder: time for folder in entries if (time := _manifest_time(folder)) is not None}
    if not times:
        raise ArtifactError(
            f"there is no artifact in {root}/; build one with: motivnet-export build"
        )
    return max(times, key=times.__getitem__)


def _manifest_time(folder: Path) -> float | None:
    """Return when a folder's manifest was written; None without one, or if it cannot be seen."""
    try:
        return (folder / FILE_NAME).stat().st_mtime
    except OSError:
        return None


def _state_of(file: BinaryIO) -> _State:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _changed(entry: FileEntry) -> ArtifactError:
    return ArtifactError(
        f"{entry.path} is not the file that the manifest describes (SHA-256 or size differ); "
        "it was changed or damaged, build the artifact again"
    )
