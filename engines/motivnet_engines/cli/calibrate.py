"""``motivnet calibrate``: measure the confidence of an artifact on labelled faces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet import command_line
from motivnet.command_line import JSONOption, interruptible
from motivnet_engines.cli.options import (
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
    from motivnet_engines.inference.calibration import CalibrationMetadata


def calibrate(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.", show_default=False)],
    folder: Annotated[
        Path,
        typer.Argument(
            help="Faces that the model was not trained on (unless --val is given), a folder per "
            "class.",
            show_default=False,
        ),
    ],
    val: ValOption = None,
    runtime: RuntimeOption = None,
    trust_engines: TrustEnginesOption = False,
    threads: ThreadsOption = None,
    detect: DetectOption = False,
    detector: DetectorOption = None,
    max_pixels: MaxPixelsOption = 250_000_000,
    json: JSONOption = False,
) -> None:
    """Fit a temperature and a threshold for unknown faces, and write them into the artifact."""
    from motivnet.terminal import progress
    from motivnet_engines.calibration.calibrate import calibrate_artifact

    with (
        interruptible("the artifact is as it was"),
        progress("measuring", total=1) as advance,
    ):
        metadata, warnings = calibrate_artifact(
            artifact,
            folder,
            held_out=val,
            runtime=runtime,
            trust_engines=trust_engines,
            threads=threads,
            detector=open_requested_detector(detector, detect=detect),
            limits=user_limits(max_pixels),
            on_share=advance,
        )
    for warning in warnings:
        command_line.warn(warning)
    if json:
        command_line.print_json(metadata)
    else:
        _show(artifact, metadata)


def _show(artifact: Path, found: CalibrationMetadata) -> None:
    from motivnet.terminal import details, show

    images, held_out = sum(found.images.values()), sum(found.held_out.values())
    if found.held_out_folder is None:
        evaluated = "threshold and temperature by cross-validation"
    else:
        evaluated = f"threshold and temperature on {held_out} of {found.held_out_folder}"
    show(
        details(
            {
                "images": f"{images} of {found.folder}; {evaluated}",
                "accuracy": f"{found.accuracy:.1%} of {held_out} held-out images",
                "temperature": f"{found.temperature:.3f}",
                "calibration error": f"{found.error_before:.3f} -> {found.error_after:.3f}",
                "distance threshold": f"{found.distance_threshold:.2f}",
                "known": f"{found.known_share:.1%} of the held-out images",
                "written into": f"{artifact} (measured with {found.runtime})",
            }
        )
    )
