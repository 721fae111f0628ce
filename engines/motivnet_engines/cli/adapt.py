"""``motivnet adapt``: learn new classes and new people from a few images, without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet import command_line
from motivnet.command_line import JSONOption, interruptible
from motivnet.path_kind import check_exist
from motivnet_engines.cli.options import (
    PATH,
    DetectOption,
    DetectorOption,
    MaxPixelsOption,
    RuntimeOption,
    ThreadsOption,
    TrustEnginesOption,
    ValOption,
    open_requested_detector,
    user_limits,
)

if TYPE_CHECKING:
    from motivnet_engines.adaptation.adapt import Adaptation


def adapt(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.", show_default=False)],
    folder: Annotated[
        Path,
        typer.Argument(
            help="Faces, a folder per class; from 5 images per class.", show_default=False
        ),
    ],
    adapted_classes: Annotated[
        Path | None,
        typer.Option(
            help="A file of classes to extend.",
            show_default="start with the classes of FOLDER",
            **PATH,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file to write.",
            show_default="that of --adapted-classes, else ARTIFACT.classes.npz",
            **PATH,
        ),
    ] = None,
    val: ValOption = None,
    runtime: RuntimeOption = None,
    trust_engines: TrustEnginesOption = False,
    threads: ThreadsOption = None,
    detect: DetectOption = False,
    detector: DetectorOption = None,
    max_pixels: MaxPixelsOption = 250_000_000,
    json: JSONOption = False,
) -> None:
    """Learn new classes, or new people of old ones, from a few images, without training."""
    check_exist(folder, val, adapted_classes)

    from motivnet.terminal import progress
    from motivnet_engines.adaptation.adapt import adapt_artifact

    with (
        interruptible("nothing was written"),
        progress("measuring", total=1) as advance,
    ):
        result = adapt_artifact(
            artifact,
            folder,
            adapted_classes=adapted_classes,
            out=out,
            held_out=val,
            runtime=runtime,
            trust_engines=trust_engines,
            threads=threads,
            detector=open_requested_detector(detector, detect=detect),
            limits=user_limits(max_pixels),
            on_share=advance,
        )
    for warning in result.warnings:
        command_line.warn(warning)
    if json:
        command_line.print_json(result)
    else:
        _show(result)


def _show(result: Adaptation) -> None:
    from motivnet.terminal import details, show, table

    rows = table("class", ">images", ">new", ">before", ">after")
    for row in result.classes:
        before, after = _percent(row.before), _percent(row.after)
        rows.add_row(row.label, str(row.images), str(row.new_images), before, after)
    summary = {"classes": f"{result.path} ({len(result.classes)} classes)"}
    if result.old_before is not None:
        before, after = _percent(result.old_before), _percent(result.old_after)
        summary["old classes"] = f"accuracy {before} ({result.compared_with}) -> {after}"
    if result.forgetting is not None:
        summary["forgetting"] = (
            f"{100 * result.forgetting:.1f} points: best earlier minus final accuracy, "
            "averaged over old classes"
        )
    if result.accuracy is not None:
        summary["all classes"] = f"accuracy {_percent(result.accuracy)}"
    summary["measured on"] = result.measured_on
    show(rows, details(summary))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
