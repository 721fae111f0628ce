"""``motivnet calibrate``: how sure an artifact's predictions may be, measured on labelled faces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet import command_line
from motivnet.command_line import JSONOption
from motivnet_engines.cli.detector_options import DetectOption, DetectorOption, detector_where_asked
from motivnet_engines.cli.options import RuntimeOption, ThreadsOption, TrustEnginesOption

if TYPE_CHECKING:
    from motivnet_engines.calibration.calibrate import CalibrationResult


def calibrate(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.", show_default=False)],
    folder: Annotated[
        Path,
        typer.Argument(
            help="Faces that the model was not trained on, a folder per class.", show_default=False
        ),
    ],
    held_out: Annotated[
        Path | None,
        typer.Option(
            help="Such a folder to choose temperature and threshold on; FOLDER may be training images then.",
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
    """Measure how sure an artifact may be and what is no face of its kind, and write it into the artifact."""
    from motivnet.progress import progress
    from motivnet_engines.calibration.calibrate import calibrate_artifact

    with progress("measuring", total=1) as advance:
        result = calibrate_artifact(
            artifact,
            folder,
            held_out=held_out,
            runtime=runtime,
            trust_engines=trust_engines,
            threads=threads,
            detector=detector_where_asked(detector, detect=detect),
            on_images=lambda _, total: advance(1 / total),
        )
    for remark in result.remarks:
        command_line.warn(remark)
    command_line.print_json(result.facts) if json else _show(artifact, result)


def _show(artifact: Path, result: CalibrationResult) -> None:
    from motivnet.terminal import facts, show

    found = result.facts
    counted = f"{sum(found.images.values())} of {found.folder}"
    chosen = f"{sum(found.held_out.values())} of {found.held_out_folder or f'{found.folder}, fifth by fifth'}"
    show(
        facts(
            {
                "images": f"{counted}; threshold and temperature on {chosen}",
                "right": f"{found.accuracy:.1%} of those",
                "temperature": f"{found.temperature:.3f}",
                "calibration error": f"{found.error_before:.3f} -> {found.error_after:.3f}",
                "threshold of the distance": f"{found.distance_threshold:.2f}",
                "known of held-out images": f"{found.known_share:.1%}",
                "written into": f"{artifact} (with {found.runtime})",
            }
        )
    )
