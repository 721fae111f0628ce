"""Results as files: JSON to keep, Markdown to paste, HTML to look at; never over a user's file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from motivnet import schema
from motivnet.artifact import add_reports, has_manifest, open_artifact
from motivnet.errors import FileError, MotivNetError
from motivnet.files import read_bytes, write_atomic
from motivnet.path_kind import is_folder, kind_of
from motivnet_bench.card import Card
from motivnet_bench.groups.measure import GroupsResult
from motivnet_bench.latency.result import MAX_BYTES, LatencyResult
from motivnet_bench.optimise.result import PAGE, OptimiseResult
from motivnet_bench.report.card import CARD_BEGINNING, card_report, markdown_from_card
from motivnet_bench.report.groups import groups_report
from motivnet_bench.report.html import html_from_report
from motivnet_bench.report.latency import latency_report
from motivnet_bench.report.markdown import markdown_from_report
from motivnet_bench.report.optimise import optimise_report
from motivnet_bench.report.robustness import robustness_report
from motivnet_bench.report.viability import viability_report
from motivnet_bench.robustness.measure import RobustnessResult
from motivnet_bench.viability.result import ViabilityResult

LATENCY_FILES = ("report.json", "report.md", "report.html")
INTERRUPTED_FILES = tuple(name.replace("report", "report-interrupted") for name in LATENCY_FILES)
"""Of an interrupted run, which must not replace the report of a complete one."""

VIABILITY_FILES = ("viability.json", "viability.html")
GROUPS_FILES = ("groups.json", "groups.html")
ROBUSTNESS_FILES = ("robustness.json", "robustness.html")
CARD_FILES = ("README.md", "card.html")


Reported: TypeAlias = LatencyResult | ViabilityResult | GroupsResult | RobustnessResult

_FILES: dict[type[Reported], tuple[tuple[str, ...], ...]] = {
    LatencyResult: (LATENCY_FILES, INTERRUPTED_FILES),
    ViabilityResult: (VIABILITY_FILES,),
    GroupsResult: (GROUPS_FILES,),
    RobustnessResult: (ROBUSTNESS_FILES,),
}


def write_latency(result: LatencyResult, folder: Path) -> tuple[Path, ...]:
    """Write a report as JSON, Markdown and HTML, and return their paths.

    The files are called ``report``, those of an interrupted run ``report-interrupted``.

    Raises:
        FileError: As ``check_folder``.
    """
    check_folder(folder, LatencyResult)
    report = latency_report(result)
    texts = (markdown_from_report(report).encode(), html_from_report(report).encode())
    names = LATENCY_FILES if result.interrupted_after is None else INTERRUPTED_FILES
    return _write(folder, zip(names, (schema.encode(result), *texts), strict=True))


def write_viability(result: ViabilityResult, folder: Path) -> tuple[Path, ...]:
    """Write ``viability.json`` and ``viability.html``, and return their paths.

    Raises:
        FileError: As ``check_folder``.
    """
    check_folder(folder, ViabilityResult)
    page = html_from_report(viability_report(result)).encode(errors="replace")
    data = schema.encode(result, errors="replace")
    return _write(folder, zip(VIABILITY_FILES, (data, page), strict=True))


def write_groups(result: GroupsResult, folder: Path) -> tuple[Path, ...]:
    """Write ``groups.json`` and ``groups.html``, and return their paths.

    Raises:
        FileError: As ``check_folder``.
    """
    check_folder(folder, GroupsResult)
    page = html_from_report(groups_report(result)).encode(errors="replace")
    data = schema.encode(result, errors="replace")
    return _write(folder, zip(GROUPS_FILES, (data, page), strict=True))


def write_robustness(result: RobustnessResult, folder: Path) -> tuple[Path, ...]:
    """Write ``robustness.json`` and ``robustness.html``, and return their paths.

    Raises:
        FileError: As ``check_folder``.
    """
    check_folder(folder, RobustnessResult)
    page = html_from_report(robustness_report(result)).encode(errors="replace")
    data = schema.encode(result, errors="replace")
    return _write(folder, zip(ROBUSTNESS_FILES, (data, page), strict=True))


def write_card(card: Card, folder: Path) -> tuple[Path, ...]:
    """Write ``README.md``, which the Hub shows, and ``card.html``, and return their paths.

    Raises:
        FileError: If the folder cannot be written, or has files of these names that are no cards.
    """
    _check_writable(folder)
    readme = folder / CARD_FILES[0]
    if os.path.lexists(readme) and not read_bytes(readme, max_bytes=MAX_BYTES).startswith(
        CARD_BEGINNING.encode()
    ):
        raise FileError(
            f"{readme} is not a card of this command; move it away, or choose another folder with "
            "--out"
        )
    texts = (markdown_from_card(card), html_from_report(card_report(card)))
    contents = (text.encode(errors="replace") for text in texts)
    return _write(folder, zip(CARD_FILES, contents, strict=True))


def write_optimise_page(result: OptimiseResult, folder: Path) -> Path:
    """Write ``optimise.html`` beside the result, and return its path."""
    page = html_from_report(optimise_report(result)).encode(errors="replace")
    write_atomic(folder / PAGE, page)
    return folder / PAGE


def check_folder(folder: Path, kind: type[Reported]) -> None:
    """Check that the report of a result can be written to a folder, which need not exist.

    Files with the report's names may be replaced if an artifact's manifest lists them, or if the
    first one can be read as such a result.

    Raises:
        FileError: If the folder cannot be written, or has such files that are no reports.
    """
    _check_writable(folder)
    listed: set[str] = set()
    if has_manifest(folder):
        listed = {entry.path for entry in open_artifact(folder).manifest.reports}
    for names in _FILES[kind]:
        found = [name for name in names if os.path.lexists(folder / name)]
        if not set(found) <= listed:
            _check_report(folder, names[0], kind, named=found[0])


def _check_writable(folder: Path) -> None:
    ancestors = (folder.absolute(), *folder.absolute().parents)
    existing = next(each for each in ancestors if kind_of(each, output="--out"))
    if not is_folder(existing):
        raise FileError(f"{existing} is a file; choose another folder with --out")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise FileError(f"{existing} cannot be written; choose another folder with --out")


def _check_report(folder: Path, name: str, kind: type[Reported], *, named: str) -> None:
    try:
        data = read_bytes(folder / name, max_bytes=MAX_BYTES)
        schema.decode(data, kind, max_bytes=MAX_BYTES)
    except (MotivNetError, schema.SchemaError) as error:
        raise FileError(
            f"{folder / named} is not a report of this command; move it away, "
            "or choose another folder with --out"
        ) from error


def _write(folder: Path, named: Iterable[tuple[str, bytes]]) -> tuple[Path, ...]:
    """Write files that were all rendered before; an artifact's manifest lists them first."""
    contents = dict(named)
    if has_manifest(folder):
        add_reports(folder, contents)
    for name, data in contents.items():
        write_atomic(folder / name, data)
    return tuple(folder / name for name in contents)
