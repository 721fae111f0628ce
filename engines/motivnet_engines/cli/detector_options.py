"""``--detect`` and ``--detector`` of the commands that measure labelled faces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from motivnet_engines.faces.detector import FaceDetector

DetectOption = Annotated[
    bool,
    typer.Option("--detect", help="Cut the faces out of the images, as predict does of photos."),
]
DetectorOption = Annotated[
    Path | None,
    typer.Option(
        "--detector", help="With --detect: YuNet as a file.", show_default="the one installed"
    ),
]


def detector_where_asked(path: Path | None, *, detect: bool) -> FaceDetector | None:
    """The face detector in a file, or the one that is installed; imported only where it is asked for."""
    if not detect and path is None:
        return None
    from motivnet_engines.faces import open_detector

    return open_detector(path)
