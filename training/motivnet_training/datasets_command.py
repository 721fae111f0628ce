"""``motivnet-train datasets``: what a folder of labelled faces is recognised as and holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet.command_line import JSONOption, print_json
from motivnet_training.options import AllowOutside, NumClasses

if TYPE_CHECKING:
    from motivnet.datasets.check import DatasetSummary
    from motivnet.terminal import TextTable

_SHOWN = 10


def datasets(
    data: Annotated[
        Path,
        typer.Argument(help="A dataset's folder or list, or a folder with a folder per class."),
    ],
    num_classes: NumClasses = 7,
    sheet: Annotated[
        Path | None, typer.Option(help="A PNG file to write, with some faces of each class.")
    ] = None,
    allow_outside: AllowOutside = False,
    json: JSONOption = False,
) -> None:
    """Show what a dataset is recognised as, its images by class and split, and what is left out."""
    from motivnet.datasets.check import summarise
    from motivnet.datasets.read import read_dataset
    from motivnet.labels import labels_for
    from motivnet_training.picture_sheet import check_sheet_name, picture_sheet, write_picture_sheet

    if sheet is not None:
        check_sheet_name(sheet)
    dataset = read_dataset(
        data, labels=labels_for(num_classes), max_unreadable=1.0, allow_outside=allow_outside
    )
    summary = summarise(dataset)
    if sheet is not None:
        write_picture_sheet(sheet, picture_sheet(dataset))
    if json:
        print_json(summary)
    else:
        _print(summary, sheet)


def _print(summary: DatasetSummary, sheet: Path | None) -> None:
    from motivnet.terminal import details, show

    about = {"dataset": summary.dataset, "format": summary.format, "images": f"{summary.images:,}"}
    if summary.people:
        about["people"] = f"{summary.people:,}"
    if summary.voted:
        about["soft labels"] = f"{summary.voted:,} images with votes"
    if sheet is not None:
        about["sheet"] = str(sheet)
    duplicates = summary.duplicates  # what was left out is a line on standard error
    titles = ("image", "same bytes in another split")
    show(
        details(about),
        _counts(summary),
        *([_listed(titles, duplicates)] if duplicates else []),
    )


def _counts(summary: DatasetSummary) -> TextTable:
    from motivnet.terminal import table

    several = len(summary.splits) > 1
    result = table("class", *(f">{part}" for part in summary.splits if several), ">images")
    for label, counts in summary.counts.items():
        in_parts = [f"{count:,}" for count in counts.values() if several]
        result.add_row(label, *in_parts, f"{sum(counts.values()):,}")
    return result


def _listed(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> TextTable:
    """A table of the first rows, which says how many more there are."""
    from motivnet.terminal import table

    result = table(*titles)
    for row in rows[:_SHOWN]:
        result.add_row(*row)
    if len(rows) > _SHOWN:
        result.add_row(
            *[""] * (len(titles) - 1), f"and {len(rows) - _SHOWN:,} more; --json lists all"
        )
    return result
