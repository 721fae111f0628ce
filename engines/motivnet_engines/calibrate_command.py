"""``motivnet calibrate``: how sure an artifact's predictions may be, measured on labelled faces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet import command_line
from motivnet.command_line import JSONOption

if TYPE_CHECKING:
    from motivnet_engines.calibration.calibrating import CalibrationResult
    from motivnet_engines.faces.detector import FaceDetector


def calibrate(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.", show_default=False)],
    folder: Annotated[
        Path,
        typer.Argument(help="Faces that the model was not trained on, a folder per class.", show_default=False),
    ],
    held_out: Annotated[
        Path | None,
        typer.Option(
            help="Such a folder to choose temperature and thresholds on; FOLDER may be training images then.",
            show_default="fifths of FOLDER in turn",
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="A runtime's name; 'motivnet info' lists them.", show_default="the first verified one"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads on the CPU.", show_default="the runtime's choice")
    ] = None,
    detect: Annotated[
        bool, typer.Option("--detect", help="Cut the faces out of the images, as predict does of photos.")
    ] = False,
    detector: Annotated[
        Path | None, typer.Option(help="With --detect: YuNet as a file.", show_default="fetched once")
    ] = None,
    json: JSONOption = False,
) -> None:
    """Measure how sure an artifact may be and what is no face of its kind, and write it into the artifact."""
    from motivnet.progress import progress
    from motivnet_engines.calibration.calibrating import calibrate_artifact

    with progress("measuring", total=1) as advance:
        result = calibrate_artifact(
            artifact,
            folder,
            held_out=held_out,
            runtime=runtime,
            threads=threads,
            detector=opened_detector(detector) if detect or detector else None,
            on_images=lambda _, total: advance(1 / total),
        )
    for remark in result.remarks:
        command_line.warn(remark)
    command_line.print_json(result.facts) if json else _show(artifact, result)


def opened_detector(path: Path | None) -> FaceDetector:
    """The face detector in a file, or the one that is fetched once; imported where it is asked for."""
    from motivnet_engines.faces.detector import open_detector

    return open_detector(path)


def _show(artifact: Path, result: CalibrationResult) -> None:
    from motivnet.terminal import facts, show

    found = result.facts
    counted = f"{sum(found.images.values())} of {found.folder}"
    chosen = f"{sum(found.held_out.values())} of {found.held_out_folder or f'{found.folder}, fifth by fifth'}"
    show(
        facts(
            {
                "images": f"{counted}; thresholds and temperature on {chosen}",
                "temperature": f"{found.temperature:.3f}",
                "calibration error": f"{found.error_before:.3f} -> {found.error_after:.3f}",
                "threshold of the distance": f"{found.distance_threshold:.2f}",
                "threshold of the energy": f"{found.energy_threshold:.2f}",
                "known of held-out images": f"{found.known_share:.1%}",
                "written into": f"{artifact} (with {found.runtime})",
            }
        )
    )
