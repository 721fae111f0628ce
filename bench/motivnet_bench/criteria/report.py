"""A result of the three criteria as files: JSON to keep, HTML to look at."""

from __future__ import annotations

from pathlib import Path

from motivnet import strict_json
from motivnet.files import write_atomic
from motivnet_bench.criteria.html import html_from_criteria
from motivnet_bench.criteria.result import CriteriaResult

NAME = "criteria"


def write_criteria(result: CriteriaResult, folder: Path) -> tuple[Path, ...]:
    """Paths of ``criteria.json`` and ``criteria.html`` in a folder, both rendered before either is written.

    Raises:
        FileError: If the folder cannot be written.
    """
    contents = {
        folder / f"{NAME}.json": strict_json.dumps(result, errors="replace"),
        folder / f"{NAME}.html": html_from_criteria(result).encode(errors="replace"),
    }
    for path, data in contents.items():
        write_atomic(path, data)
    return tuple(contents)
