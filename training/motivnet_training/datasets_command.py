"""``motivnet-train datasets``: what a folder of labelled faces is recognised as, and what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet.command_line import JSONOption, print_json
from motivnet_training.fit_command import Outside

if TYPE_CHECKING:
    from motivnet.datasets.summary import DatasetSummary
    from motivnet.terminal import TextTable

_SHOWN = 10


def datasets(
    data: Annotated[
        Path,
        typer.Argument(help="A dataset's folder or list, or a folder with a folder per class."),
    ],
    classes: Annotated[int, typer.Option(min=1, help="7 emotions, or 8 with contempt.")] = 7,
    sheet: Annotated[
        Path | None, typer.Option(help="A PNG file to write, with some faces of each class.")
    ] = None,
    allow_outside: Outside = False,
    json: JSONOption = False,
) -> None:
    """Show what a dataset is recognised as, its images by class and part, and what is left out or comes twice."""
    from motivnet.datasets.read import read_dataset
    from motivnet.datasets.summary import summary_of
    from motivnet.labels import labels_for
    from motivnet_training.sheet import check_sheet_name, picture_sheet, write_picture_sheet

    if sheet is not None:
        check_sheet_name(sheet)
    dataset = read_dataset(
        data, labels=labels_for(classes), max_unreadable=1.0, allow_outside=allow_outside
    )
    summary = summary_of(dataset)
    if sheet is not None:
        write_picture_sheet(sheet, picture_sheet(dataset))
    if json:
        print_json(summary)
    else:
        _print(summary, sheet)


def _print(summary: DatasetSummary, sheet: Path | None) -> None:
    from motivnet.terminal import facts, show

    about = {"dataset": summary.dataset, "layout": summary.layout, "images": f"{summary.images:,}"}
    if summary.people:
        about["people"] = f"{summary.people:,}"
    if summary.voted:
        about["soft labels"] = f"{summary.voted:,} images with votes"
    if sheet is not None:
        about["sheet"] = str(sheet)
    lists: dict[tuple[str, ...], Sequence[tuple[str, ...]]] = {
        (">skipped", "reason"): [
            (f"{count:,}", reason) for reason, count in sorted(summary.skipped.items())
        ],
        ("unreadable",): [(reason,) for reason in summary.unreadable.values()],
        ("image", "same bytes in another part"): summary.duplicates,
    }
    show(
        facts(about),
        _counts(summary),
        *(_listed(titles, rows) for titles, rows in lists.items() if rows),
    )


def _counts(summary: DatasetSummary) -> TextTable:
    from motivnet.terminal import table

    several = len(summary.parts) > 1
    result = table("class", *(f">{part}" for part in summary.parts if several), ">images")
    for label, counts in summary.counts.items():
        in_parts = [f"{count:,}" for count in counts.values() if several]
        result.add_row(label, *in_parts, f"{sum(counts.values()):,}")
    return result


def _listed(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> TextTable:
    """The first rows, and how many there are more."""
    from motivnet.terminal import table

    result = table(*titles)
    for row in rows[:_SHOWN]:
        result.add_row(*row)
    if len(rows) > _SHOWN:
        result.add_row(
            *[""] * (len(titles) - 1), f"and {len(rows) - _SHOWN:,} more; --json lists all"
        )
    return result
