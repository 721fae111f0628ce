"""An artifact's folder: its manifest, and its files behind their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from motivnet import strict_json
from motivnet.artifact.manifest import FILE_NAME, FileEntry, Manifest
from motivnet.artifact.onnx_graph import check_model
from motivnet.errors import ArtifactError, FileError
from motivnet.files import atomic_path, open_regular, read_bytes, sha256_of_stream
from motivnet.progress import progress
from motivnet.workspace import sole_writer

logger = logging.getLogger(__name__)

ARTIFACTS = Path("artifacts")
"""Where every command looks for artifacts and leaves them, below the working directory."""

_OUR_NAMES = re.compile(
    r"model\.onnx(\.data)?|model\.[a-z-]+\.engine|(reference|calibration)\.npz|(report|criteria)\.(html|md|json)"
)
"""Of the files that exports, engines, calibrations and reports are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A folder and the manifest that was read from it."""

    folder: Path
    manifest: Manifest

    @property
    def has_external_data(self) -> bool:
        """Whether the model's weights lie in a file beside it."""
        return any(entry.path == f"{self.manifest.model}.data" for entry in self.manifest.files)

    def model_bytes(self) -> bytes:
        """The bytes of the ONNX model, whose graph is one that this toolkit exports; see
        ``file_bytes``.

        Raises:
            ArtifactError: If they are not what the manifest describes, or another graph; see
            ``check_model``.
        """
        data, _ = self._read(self.manifest.entry(self.manifest.model))
        self._check_graph(data)
        return data

    def file_bytes(self, path: str) -> bytes:
        """The bytes of one of the artifact's files, which have the size and the hash that the
        manifest gives.

        Raises:
            ArtifactError: If they have not, or the manifest names no such file.
        """
        data, _ = self._read(self.manifest.entry(path))
        return data

    @contextlib.contextmanager
    def verified_model_path(self) -> Iterator[Path]:
        """The ONNX model's path for a parser that needs one, the model and its external data
        verified.

        The files are hashed and the graph is checked before the block, and they must still be the
        same, unmodified files after it; what the parser read in between is then what was hashed.

        Raises:
            ArtifactError: If a file does not match, was changed while the block ran, or is another
                graph than this toolkit exports; see ``check_model``.
        """
        model = self.manifest.entry(self.manifest.model)
        others = [entry for entry in self.manifest.files if entry.path == f"{model.path}.data"]
        data, identity = self._read(model)
        self._check_graph(data)
        del data
        before = [identity, *(self._verified_identity(entry) for entry in others)]
        yield self._path(model)
        if before != [self._identity(entry) for entry in (model, *others)]:
            raise ArtifactError(
                f"the files of {self.folder} changed while they were opened; try again"
            )

    def regular_path(self, path: str) -> Path:
        """The path of one of the artifact's files, a regular file of the size that the manifest
        gives, for a copy.

        Raises:
            ArtifactError: If it is anything else, such as a link or a FIFO.
        """
        entry = self.manifest.entry(path)
        with self._open(entry):
            return self._path(entry)

    def verify_files(self) -> None:
        """Returns when every file has the size and the hash that the manifest gives.

        Raises:
            ArtifactError: Naming the first that has not.
        """
        for entry in self.manifest.files:
            self._verified_identity(entry)

    def _check_graph(self, data: bytes) -> None:
        manifest = self.manifest
        if manifest.kind != "onnx":
            raise ArtifactError(f"{self.folder} is an engine alone and holds no ONNX graph")
        beside = f"{manifest.model}.data"
        sizes = [entry.size for entry in manifest.files if entry.path == beside]
        check_model(data, manifest, data_bytes=sizes[0] if sizes else None)

    def _path(self, entry: FileEntry) -> Path:
        """The one place that says which file an entry means."""
        folder = self.folder.resolve()
        path = folder / entry.path
        if path.resolve() != path:
            raise ArtifactError(
                f"{entry.path} is or lies behind a symbolic link, which is not followed in an artifact"
            )
        return path

    @contextlib.contextmanager
    def _open(self, entry: FileEntry) -> Iterator[BinaryIO]:
        """The file, which is regular and has its size: a sparse one of a terabyte is not read to learn that."""
        try:
            with open_regular(self._path(entry), follow_links=False) as file:
                if os.fstat(file.fileno()).st_size != entry.size:
                    raise _changed(entry)
                yield file
        except FileError as error:
            raise ArtifactError(f"{error}; the artifact is damaged, build it again") from error
        except OSError as error:
            raise ArtifactError(
                f"{entry.path} cannot be read: {error.strerror or error}"
            ) from error

    def _read(self, entry: FileEntry) -> tuple[bytes, tuple[int, ...]]:
        with self._open(entry) as file:
            identity = _identity_of(file)
            data = file.read(entry.size + 1)  # one byte more tells that it has grown
        if len(data) != entry.size or sha256_of_stream(io.BytesIO(data)) != entry.sha256:
            raise _changed(entry)
        return data, identity

    def _verified_identity(self, entry: FileEntry) -> tuple[int, ...]:
        with (
            self._open(entry) as file,
            progress(f"verifying {entry.path}", total=entry.size) as advance,
        ):
            identity = _identity_of(file)
            digest = sha256_of_stream(file, on_chunk=lambda chunk: advance(len(chunk)))
        if digest != entry.sha256:
            raise _changed(entry)
        return identity

    def _identity(self, entry: FileEntry) -> tuple[int, ...]:
        with self._open(entry) as file:
            return _identity_of(file)


def open_artifact(folder: Path | str) -> Artifact:
    """The artifact in a folder; its manifest is read and checked, its other files are not touched
    yet.

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
        manifest = Manifest.from_json(
            read_bytes(path, max_bytes=strict_json.MAX_BYTES, follow_links=False)
        )
    except (ArtifactError, FileError) as error:
        raise ArtifactError(f"{path}: {error}") from error
    return Artifact(folder=folder, manifest=manifest)


def has_manifest(folder: Path) -> bool:
    """Whether a folder has a ``manifest.json``, whoever wrote it: web apps have one too."""
    return os.path.lexists(folder / FILE_NAME)


def own_files(folder: Path) -> frozenset[str]:
    """The files that go when another artifact takes a folder: those that its manifest lists,
    reports too, and itself.

    A manifest may come from somebody else and list the user's own files. So a listed file counts if
    its name is one that this toolkit gives, or if it still is what the manifest describes.

    Raises:
        FileError: If the folder is no artifact, or its manifest is not one that this version reads.
    """
    manifest = _own_manifest(folder)
    listed = (*manifest.files, *manifest.reports)
    return frozenset((FILE_NAME, *(entry.path for entry in listed if _is_ours(folder, entry))))


def _is_ours(folder: Path, entry: FileEntry) -> bool:
    if _OUR_NAMES.fullmatch(entry.path):
        return True
    try:
        with open_regular(folder / entry.path, max_bytes=entry.size, follow_links=False) as file:
            return sha256_of_stream(file) == entry.sha256
    except FileError:
        return False


def own_files_but_reports(folder: Path) -> frozenset[str]:
    """The files that go when an artifact gets a part more: its reports stay, being of the same
    model.

    Raises:
        FileError: As ``own_files``.
    """
    return own_files(folder) - {entry.path for entry in _own_manifest(folder).reports}


def _own_manifest(folder: Path) -> Manifest:
    if not has_manifest(folder):
        raise FileError(
            f"{folder} holds files that are not an artifact; choose another output folder"
        )
    try:
        return open_artifact(folder).manifest
    except ArtifactError as error:
        reason = str(error).removeprefix(f"{folder / FILE_NAME}: ")
        raise FileError(
            f"{folder} is not replaced, because its {FILE_NAME} is no manifest that this version reads ({reason}); "
            "choose another output folder, or remove this one if it is an artifact of another version"
        ) from error


def check_free(artifact: Artifact, path: str) -> None:
    """Returns when a file may be added to an artifact: none of that name is there, or it is the
    artifact's own.

    Raises:
        FileError: If there is one that the manifest does not list.
    """
    if path not in own_files(artifact.folder) and os.path.lexists(artifact.folder / path):
        raise FileError(
            f"{artifact.folder / path} is not of the artifact and in the way; move it away and try again"
        )


def list_reports(folder: Path, reports: Mapping[str, bytes]) -> None:
    """Writes into an artifact's manifest that these reports, which are about to be written, are the
    artifact's.

    The manifest keeps its time: a report does not make an artifact the newest one.

    Raises:
        ArtifactError: If the folder is not an artifact or its manifest is not valid.
        FileError: If the manifest cannot be written.
    """
    entries = [
        FileEntry(path=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in reports.items()
    ]

    def with_reports(manifest: Manifest) -> Manifest:
        kept = [entry for entry in manifest.reports if entry.path not in reports]
        return replace(manifest, reports=(*kept, *entries))

    rewrite_manifest(folder, with_reports, keep_time=True)


def rewrite_manifest(
    folder: Path, change: Callable[[Manifest], Manifest], *, keep_time: bool = False
) -> None:
    """Puts the changed manifest in the place of the one that an artifact has by then.

    Whoever builds or compiles in the folder is waited for: they write a manifest of their own at
    their end.

    Args:
        keep_time: Whether the artifact is no newer than before.

    Raises:
        ArtifactError: If the folder is not an artifact or its manifest is not valid.
        FileError: If the manifest cannot be written.
    """
    path = folder / FILE_NAME
    with _as_sole_writer(folder):
        manifest, times = change(open_artifact(folder).manifest), path.stat()
        with atomic_path(path) as temporary:
            temporary.write_bytes(manifest.to_json())
            if keep_time:
                os.utime(temporary, ns=(times.st_atime_ns, times.st_mtime_ns))


@contextlib.contextmanager
def _as_sole_writer(folder: Path) -> Iterator[None]:
    """Where no lock can be made beside the folder nobody of this user can replace the folder either."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            if not stack.enter_context(sole_writer(folder.resolve())):
                logger.warning(
                    "%s is being written by another process; its manifest is written after that",
                    folder,
                )
                stack.enter_context(sole_writer(folder.resolve(), wait=True))
        yield


def newest_artifact(root: Path) -> Path:
    """The artifact folder below ``root`` whose manifest was written last.

    Raises:
        ArtifactError: If there is none.
    """
    manifests = sorted(root.glob(f"*/{FILE_NAME}"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        raise ArtifactError(
            f"there is no artifact in {root}/; build one with: motivnet-export build"
        )
    return manifests[-1].parent


def _identity_of(file: BinaryIO) -> tuple[int, ...]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _changed(entry: FileEntry) -> ArtifactError:
    return ArtifactError(
        f"{entry.path} is not the file that the manifest describes (SHA-256 or size differ); "
        "it was changed or damaged, build the artifact again"
    )
