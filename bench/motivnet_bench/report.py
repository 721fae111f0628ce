"""A latency result as files: JSON to keep, Markdown to paste, HTML to look at."""

from __future__ import annotations

import os
from pathlib import Path

from motivnet.errors import FileError
from motivnet.files import write_atomic
from motivnet_bench.html import html_from_result
from motivnet_bench.markdown import markdown_from_result
from motivnet_bench.result import LatencyResult

NAME = "report"


def write_report(result: LatencyResult, folder: Path) -> tuple[Path, ...]:
    """Paths of ``report.json``, ``report.md`` and ``report.html`` in a folder, all rendered before any is written.

    Raises:
        FileError: If the folder cannot be written.
    """
    contents = {
        folder / f"{NAME}.json": result.to_json(),
        folder / f"{NAME}.md": markdown_from_result(result).encode(),
        folder / f"{NAME}.html": html_from_result(result).encode(),
    }
    for path, data in contents.items():
        write_atomic(path, data)
    return tuple(contents)


def check_writable(folder: Path) -> None:
    """Returns when a report can be written to a folder, which need not exist: better known before a long run.

    Raises:
        FileError: If it cannot.
    """
    existing = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not existing.is_dir():
        raise FileError(f"{existing} is a file; choose another folder with --out")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise FileError(f"{existing} cannot be written; choose another folder with --out")
