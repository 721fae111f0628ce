"""Changing an artifact's folder: which files may go, what may be added, and the manifest."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from motivnet.artifact.folder import ADVICE, Artifact, has_manifest, open_artifact
from motivnet.artifact.manifest import FILE_NAME, FileEntry, Manifest
from motivnet.errors import ArtifactError, FileError
from motivnet.files import atomic_path, open_regular, sha256_of_stream
from motivnet.folders import atomic_folder, link_or_copy
from motivnet.workspace import write_lock

logger = logging.getLogger(__name__)

_OUR_NAMES = re.compile(
    r"model\.onnx(\.data)?|model\.[a-z-]+\.engine|(reference|calibration)\.npz|escalation\.json"
    r"|(report|viability)\.(html|md|json)"
)
"""Names of the files that exports, engines, calibrations and reports are."""


def own_files(folder: Path) -> frozenset[str]:
    """Return the files that are removed when another artifact takes a folder.

    They are the manifest and what it lists, reports included. A manifest may come from somebody
    else and list the user's own files. So a listed file counts only if its name is one that this
    toolkit gives, or if it is still what the manifest describes.

    Raises:
        FileError: If the folder is no artifact, or its manifest is not one that this version reads.
    """
    manifest = _read_own_manifest(folder)
    listed = (*manifest.files, *manifest.reports)
    return frozenset((FILE_NAME, *(entry.path for entry in listed if _is_ours(folder, entry))))


def own_files_except_reports(folder: Path) -> frozenset[str]:
    """Return the files that are removed when a file is added to an artifact.

    Its reports stay, because they are about the same model.

    Raises:
        FileError: As ``own_files``.
    """
    reports = {entry.path for entry in _read_own_manifest(folder).reports}
    return own_files(folder) - reports


def check_addable(artifact: Artifact, path: str) -> None:
    """Check that a file may be added: none of that name exists, or it is the artifact's own.

    Raises:
        FileError: If there is one that the manifest does not list.
    """
    target = artifact.folder / path
    if path not in own_files(artifact.folder) and os.path.lexists(target):
        raise FileError(
            f"{target} is not of the artifact and in the way; move it away and try again"
        )


def add_file(
    folder: Path, path: str, content: bytes, *, change: Callable[[Manifest], Manifest]
) -> None:
    """Add a file to an artifact, in place of an older one; on failure nothing changes.

    The manifest is read again first, because a measurement takes long and other commands may have
    written to it meanwhile. Files in the artifact's folder that its manifest does not list stay.

    Args:
        change: Given the manifest that the folder has by then, and what it returns with the file
            added is written. Files that it no longer lists are removed.

    Raises:
        ArtifactError: If the folder is not an artifact or its manifest is not valid.
        FileError: If the artifact's folder cannot be written.
    """
    with atomic_folder(folder, own=own_files_except_reports, others="keep") as temporary:
        current = open_artifact(folder)
        entry = FileEntry(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        kept = tuple(entry for entry in current.manifest.files if entry.path != path)
        files = (*kept, entry)
        manifest = change(msgspec.structs.replace(current.manifest, files=files))
        link_files(current, [entry.path for entry in manifest.files if entry in kept], temporary)
        (temporary / path).write_bytes(content)
        (temporary / FILE_NAME).write_bytes(manifest.to_json())


def add_reports(folder: Path, reports: Mapping[str, bytes]) -> None:
    """List reports, which are about to be written, in an artifact's manifest.

    The manifest keeps its time: a report does not make an artifact the newest one.

    Raises:
        ArtifactError, FileError: As ``rewrite_manifest``.
    """
    entries = [
        FileEntry(path=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in reports.items()
    ]

    def with_reports(manifest: Manifest) -> Manifest:
        kept = [entry for entry in manifest.reports if entry.path not in reports]
        return msgspec.structs.replace(manifest, reports=(*kept, *entries))

    rewrite_manifest(folder, with_reports, keep_time=True)


def rewrite_manifest(
    folder: Path, change: Callable[[Manifest], Manifest], *, keep_time: bool = False
) -> None:
    """Replace an artifact's manifest by a changed one.

    Waits for other processes that build or compile in the folder, because they write a manifest at
    their end.

    Args:
        change: Given the manifest that the folder has by then.
        keep_time: Keep the manifest's time, so that the artifact is no newer than before.

    Raises:
        ArtifactError: If the folder is not an artifact or its manifest is not valid.
        FileError: If the manifest cannot be written.
    """
    path = folder / FILE_NAME
    with _wait_for_writers(folder):
        manifest, times = change(open_artifact(folder).manifest), path.stat()
        with atomic_path(path) as temporary:
            temporary.write_bytes(manifest.to_json())
            if keep_time:
                os.utime(temporary, ns=(times.st_atime_ns, times.st_mtime_ns))


def link_files(artifact: Artifact, paths: Iterable[str], folder: Path) -> None:
    """Give files of an artifact a second name in another folder, so that gigabytes are not copied.

    A file that the folder already has is left alone.

    Raises:
        ArtifactError: If a file is not a regular file of its size.
    """
    for path in paths:
        target = folder / path
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(artifact.regular_path(path), target)


def copy_files(artifact: Artifact, paths: Iterable[str], folder: Path) -> None:
    """Copy files of an artifact to the folder of another one; a file that is there is replaced.

    Raises:
        ArtifactError: If a file is not a regular file of its size.
    """
    for path in paths:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copyfile(artifact.regular_path(path), target, follow_symlinks=False)


def _is_ours(folder: Path, entry: FileEntry) -> bool:
    if _OUR_NAMES.fullmatch(entry.path):
        return True
    try:
        with open_regular(folder / entry.path, max_bytes=entry.size) as file:
            return sha256_of_stream(file) == entry.sha256
    except FileError:
        return False


def _read_own_manifest(folder: Path) -> Manifest:
    if not has_manifest(folder):
        raise FileError(
            f"{folder} holds files that are not an artifact; choose another output folder"
        )
    try:
        return open_artifact(folder).manifest
    except ArtifactError as error:
        reason = str(error).removeprefix(f"{folder / FILE_NAME}: ").removesuffix(ADVICE)
        raise FileError(
            f"{folder} is not replaced, because its {FILE_NAME} is no manifest that this version "
            f"reads ({reason}); choose another output folder, or remove this one if it is an "
            "artifact of another version"
        ) from error


@contextlib.contextmanager
def _wait_for_writers(folder: Path) -> Iterator[None]:
    path = Path(os.path.realpath(folder))
    with contextlib.ExitStack() as stack:
        # If no lock can be made beside the folder, this user cannot replace the folder either.
        with contextlib.suppress(OSError):
            if not stack.enter_context(write_lock(path)):
                logger.warning(
                    "%s is being written by another process; its manifest is written after that",
                    folder,
                )
                stack.enter_context(write_lock(path, wait=True))
        yield
