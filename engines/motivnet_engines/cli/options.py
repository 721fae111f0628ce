"""The options that several commands share, in one wording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from motivnet.command_line import say
from motivnet.errors import ConfigError


def path_from_text(text: str) -> Path:
    """An option's path; an empty one, as of a variable that is not set, would be the current
    folder.

    Raises:
        ConfigError: If it is empty.
    """
    if not text:
        raise ConfigError("a path is empty; give its option a name, or leave the option out")
    return Path(text)


PATH: dict[str, Any] = {"parser": path_from_text, "metavar": "PATH"}
"""What makes an option of typer a path that is not empty."""

ArtifactOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="The artifact's folder.", show_default="the newest in artifacts/", **PATH),
]
RuntimeOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="A runtime's name; 'motivnet info' lists them.", show_default="the first verified one"
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
        max=1024, help="The runtime's threads on the CPU.", show_default="the runtime's choice"
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
UnknownOption: TypeAlias = Annotated[
    bool, typer.Option("--unknown", help="Label what is unlike the calibration's images 'unknown'.")
]
ClassesOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Classes that 'motivnet adapt' learnt.", show_default="the model's", **PATH),
]


def chosen_artifact(folder: Path | None) -> Path:
    """The folder given, else the newest artifact, which is named on standard error.

    Raises:
        ArtifactError: If there is none.
    """
    from motivnet.artifact import ARTIFACTS, newest_artifact

    if folder is not None:
        return folder
    newest = newest_artifact(ARTIFACTS)
    say(f"{newest} is the newest artifact", err=True)
    return newest


def check_detection(detector: Path | None, *, no_detect: bool) -> None:
    """Returns when the two options go together.

    Raises:
        ConfigError: If they do not.
    """
    if no_detect and detector is not None:
        raise ConfigError("--no-detect needs no --detector; leave out one of them")
