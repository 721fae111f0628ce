"""A latency result as files: JSON to keep, Markdown to paste, HTML to look at; and where reports may be written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from motivnet.artifact import has_manifest, list_reports, open_artifact
from motivnet.errors import FileError, MotivNetError
from motivnet.files import write_atomic
from motivnet_bench.latency.result import LatencyResult, read_result
from motivnet_bench.report.html import html_from_result
from motivnet_bench.report.markdown import markdown_from_result

NAMES = ("report.json", "report.md", "report.html")


def write_report(result: LatencyResult, folder: Path) -> tuple[Path, ...]:
    """Paths of ``report.json``, ``report.md`` and ``report.html`` in a folder, all rendered before
    any is written.

    Raises:
        FileError: If the folder cannot be written, or has such files of somebody else.
    """
    check_folder(folder)
    contents = (
        result.to_json(),
        markdown_from_result(result).encode(),
        html_from_result(result).encode(),
    )
    return write_reports(folder, dict(zip(NAMES, contents, strict=True)))


def write_reports(folder: Path, contents: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Writes reports by their names; those in an artifact's folder are listed in its manifest,
    before they are there.

    Raises:
        ArtifactError: If the artifact's manifest is not valid.
        FileError: If the folder cannot be written.
    """
    if has_manifest(folder):
        list_reports(folder, contents)
    for name, data in contents.items():
        write_atomic(folder / name, data)
    return tuple(folder / name for name in contents)


def check_folder(folder: Path) -> None:
    """Returns when a latency report can be written to a folder, which need not exist.

    Raises:
        FileError: As ``check_writable`` and ``check_replaceable``.
    """
    check_writable(folder)
    check_replaceable(folder, NAMES, read_result)


def check_writable(folder: Path) -> None:
    """Returns when files can be written to a folder, which need not exist: better known before a
    long run.

    Raises:
        FileError: If they cannot.
    """
    existing = next(
        each for each in (folder.absolute(), *folder.absolute().parents) if each.exists()
    )
    if not existing.is_dir():
        raise FileError(f"{existing} is a file; choose another folder with --out")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise FileError(f"{existing} cannot be written; choose another folder with --out")


def check_replaceable(folder: Path, names: Sequence[str], read: Callable[[Path], object]) -> None:
    """Returns when no file of somebody else has one of the names: the first one, read, tells whose
    they are.

    Raises:
        FileError: If one has.
    """
    found = [name for name in names if os.path.lexists(folder / name)]
    if not found or (has_manifest(folder) and set(found) <= _listed(folder)):
        return
    try:
        read(folder / names[0])
    except MotivNetError as error:
        raise FileError(
            f"{folder / found[0]} is not a report of this command; move it away, or choose another folder with --out"
        ) from error


def _listed(folder: Path) -> set[str]:
    return {entry.path for entry in open_artifact(folder).manifest.reports}
