"""A result of the three criteria as files: JSON to keep, HTML to look at."""

from __future__ import annotations

from pathlib import Path

from motivnet import strict_json
from motivnet.errors import ConfigError
from motivnet.files import read_bytes
from motivnet_bench.latency.result import MAX_BYTES
from motivnet_bench.report.write import check_replaceable, check_writable, write_reports
from motivnet_bench.viability.html import html_from_criteria
from motivnet_bench.viability.result import CriteriaResult

NAMES = ("criteria.json", "criteria.html")


def write_criteria(result: CriteriaResult, folder: Path) -> tuple[Path, ...]:
    """Paths of ``criteria.json`` and ``criteria.html`` in a folder, both rendered before either is
    written.

    Raises:
        FileError: If the folder cannot be written, or has such files of somebody else.
    """
    check_folder(folder)
    contents = (
        strict_json.dumps(result, errors="replace"),
        html_from_criteria(result).encode(errors="replace"),
    )
    return write_reports(folder, dict(zip(NAMES, contents, strict=True)))


def check_folder(folder: Path) -> None:
    """Returns when a report of the criteria can be written to a folder, which need not exist.

    Raises:
        FileError: If it cannot be written, or has such files of somebody else.
    """
    check_writable(folder)
    check_replaceable(folder, NAMES, _read)


def _read(path: Path) -> CriteriaResult:
    try:
        return strict_json.build(
            CriteriaResult, strict_json.loads(read_bytes(path, max_bytes=MAX_BYTES))
        )
    except strict_json.StrictJSONError as error:
        raise ConfigError(f"{path} is not a result of the criteria: {error}") from error
