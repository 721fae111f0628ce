"""``motivnet adapt``: new classes and new people from a few images, without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet import command_line
from motivnet.command_line import JSONOption
from motivnet_engines.cli.detector_options import DetectOption, DetectorOption, detector_where_asked
from motivnet_engines.cli.options import RuntimeOption, ThreadsOption, TrustEnginesOption

if TYPE_CHECKING:
    from motivnet_engines.adaptation.adapt import Adaptation


def adapt(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.", show_default=False)],
    folder: Annotated[
        Path,
        typer.Argument(
            help="Faces, a folder per class; from 5 images of a class.", show_default=False
        ),
    ],
    classes: Annotated[
        Path | None,
        typer.Option(
            help="A file of classes to extend.", show_default="starts with those of FOLDER"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file to write.", show_default="that of --classes, else ARTIFACT.classes.npz"
        ),
    ] = None,
    val: Annotated[
        Path | None,
        typer.Option(
            help="Other faces, a folder per class, to measure on.",
            show_default="fifths of FOLDER in turn",
        ),
    ] = None,
    runtime: RuntimeOption = None,
    trust_engines: TrustEnginesOption = False,
    threads: ThreadsOption = None,
    detect: DetectOption = False,
    detector: DetectorOption = None,
    json: JSONOption = False,
) -> None:
    """Learn new classes, or new people of old ones, from a few images, without training."""
    from motivnet.progress import progress
    from motivnet_engines.adaptation.adapt import adapt_artifact

    with progress("measuring", total=1) as advance:
        result = adapt_artifact(
            artifact,
            folder,
            classes=classes,
            out=out,
            validation=val,
            runtime=runtime,
            trust_engines=trust_engines,
            threads=threads,
            detector=detector_where_asked(detector, detect=detect),
            on_images=lambda _, total: advance(1 / total),
        )
    for remark in result.remarks:
        command_line.warn(remark)
    command_line.print_json(result) if json else _show(result)


def _show(result: Adaptation) -> None:
    from motivnet.terminal import facts, show, table

    rows = table("class", ">images", ">new", ">before", ">after")
    for row in result.classes:
        numbers = (str(row.images), str(row.new_images), _percent(row.before), _percent(row.after))
        rows.add_row(row.label, *numbers)
    summary = {"classes": f"{result.path}, {len(result.classes)} of them"}
    if result.old_before is not None:
        summary["old classes"] = (
            f"{_percent(result.old_before)} -> {_percent(result.old_after)} right ({result.compared_with})"
        )
    if result.forgetting is not None:
        summary["forgetting"] = (
            f"{100 * result.forgetting:.1f} points: best earlier minus final accuracy, averaged over old classes"
        )
    if result.accuracy is not None:
        summary["all classes"] = f"{_percent(result.accuracy)} right"
    summary["measured on"] = result.measured_on
    show(rows, facts(summary))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
