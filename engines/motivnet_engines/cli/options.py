"""Options that several commands share, with one wording."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from motivnet.command_line import say
from motivnet.errors import ConfigError

if TYPE_CHECKING:
    from motivnet.images import ImageLimits
    from motivnet_engines.faces.detector import FaceDetector


def path_from_text(text: str) -> Path:
    """Return an option's path; an empty one, from an unset variable, would be the current folder.

    Raises:
        ConfigError: If it is empty.
    """
    if not text:
        raise ConfigError("a path is empty; give its option a name, or leave the option out")
    return Path(text)


PATH: dict[str, Any] = {"parser": path_from_text, "metavar": "PATH"}
"""Arguments of ``typer.Option`` for a path that is not empty."""

ArtifactOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="The artifact's folder.", show_default="the newest in artifacts/", **PATH),
]
RuntimeOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="A runtime's name; 'motivnet inspect' lists them.",
        show_default="the first verified one",
    ),
]
TrustEnginesOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--trust-engines",
        help="Run engines that were built elsewhere too; an engine is native code.",
    ),
]
ThreadsOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="The runtime's threads on the CPU.",
        show_default="the runtime's choice",
    ),
]
MaxPixelsOption: TypeAlias = Annotated[
    int,
    typer.Option(
        "--max-pixels",
        min=1,
        max=1_000_000_000,
        help="Pixels of the largest picture that is read; lower it for strangers' pictures.",
    ),
]
EscalateOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--escalate",
        help="The artifact of a larger model, which is asked where --artifact's is unsure.",
        show_default="none",
        **PATH,
    ),
]
DetectorOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="The face detector YuNet as a file.", show_default="the one installed", **PATH
    ),
]
NoDetectOption: TypeAlias = Annotated[
    bool, typer.Option("--no-detect", help="Each image is one face.")
]
DetectOption: TypeAlias = Annotated[
    bool,
    typer.Option("--detect", help="Crop the faces from the images, as 'motivnet predict' does."),
]
UnknownOption: TypeAlias = Annotated[
    bool,
    typer.Option("--unknown", help="Label faces unlike those of the calibration 'unknown'."),
]
AdaptedClassesOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--adapted-classes",
        help="A file of classes that 'motivnet adapt' wrote.",
        show_default="the model's classes",
        **PATH,
    ),
]
ValOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--val",
        help="Held-out faces to measure on, a folder per class.",
        show_default="5-fold cross-validation over FOLDER",
        **PATH,
    ),
]


def choose_artifact(folder: Path | None) -> Path:
    """Return the folder given, or the newest artifact, which is named on standard error.

    Raises:
        ArtifactError: If there is no artifact.
    """
    from motivnet.artifact import ARTIFACTS, newest_artifact

    if folder is not None:
        return folder
    newest = newest_artifact(ARTIFACTS)
    say(f"{newest} is the newest artifact", err=True)
    return newest


def check_detection(detector: Path | None, *, no_detect: bool) -> None:
    """Refuse ``--detector`` together with ``--no-detect``.

    Raises:
        ConfigError: If both are given.
    """
    if no_detect and detector is not None:
        raise ConfigError("--no-detect needs no --detector; leave out one of them")


def check_unknown(adapted_classes: Path | None, *, unknown: bool) -> None:
    """Refuse ``--unknown`` together with ``--adapted-classes``.

    Raises:
        ConfigError: If both are given.
    """
    if unknown and adapted_classes is not None:
        raise ConfigError(
            "--unknown does not go with --adapted-classes, because distances are from the model's "
            "own classes; leave out one of them"
        )


def check_escalate(adapted_classes: Path | None, *, escalate: Path | None) -> None:
    """Refuse ``--escalate`` together with ``--adapted-classes``.

    Raises:
        ConfigError: If both are given.
    """
    if escalate is not None and adapted_classes is not None:
        raise ConfigError(
            "--escalate does not go with --adapted-classes, because its threshold is for the "
            "model's own classes; leave out one of them"
        )


def check_apart(outputs: Iterable[tuple[str, Path]]) -> None:
    """Refuse outputs of which one is another one's file or folder.

    Args:
        outputs: Options and their paths.

    Raises:
        ConfigError: Naming both.
    """
    # A folder is sorted directly before what is in it.
    places = sorted((Path(os.path.realpath(path)), f"{option} {path}") for option, path in outputs)
    for (place, name), (next_place, next_name) in pairwise(places):
        if next_place.is_relative_to(place):
            raise ConfigError(f"{name} and {next_name} are in each other's way; choose other names")


def user_limits(max_pixels: int) -> ImageLimits:
    """Return the limits of ``--max-pixels``; a file has at most a byte per pixel, or 250 MB."""
    from motivnet.images import USER_LIMITS

    return replace(
        USER_LIMITS,
        max_pixels=max_pixels,
        max_bytes=max(USER_LIMITS.max_bytes, max_pixels),
        advice="make it smaller, or raise --max-pixels",
    )


def open_requested_detector(path: Path | None, *, detect: bool) -> FaceDetector | None:
    """Return the detector of ``--detect`` or ``--detector FILE``, or None without either."""
    if not detect and path is None:
        return None
    from motivnet_engines.faces import open_detector

    return open_detector(path)
