"""An artifact's files in the folder of the one that is to take its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from motivnet.artifact import Artifact


def link_files(artifact: Artifact, paths: Iterable[str], folder: Path) -> None:
    """The same files under a second name: gigabytes are not copied; where links are not to be had
    they are.

    A file that ``folder`` has already is left alone.
    """
    for path in paths:
        if not (folder / path).exists():
            _link(artifact.regular_path(path), _place(folder, path))


def copy_files(artifact: Artifact, paths: Iterable[str], folder: Path) -> None:
    """Files of their own, because the two folders are two artifacts; one that was linked there is replaced."""
    for path in paths:
        target = _place(folder, path)
        target.unlink(missing_ok=True)
        shutil.copyfile(artifact.regular_path(path), target, follow_symlinks=False)


def _place(folder: Path, path: str) -> Path:
    """Where a file goes, in a folder that is there."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target, follow_symlinks=False)
