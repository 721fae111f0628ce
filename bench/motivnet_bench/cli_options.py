"""The arguments and options that several commands of ``motivnet-bench`` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ArtifactArgument = Annotated[
    Path | None,
    typer.Argument(
        help="The artifact's folder; the newest of artifacts/ if left out.", show_default=False
    ),
]
CheckpointOption = Annotated[
    Path | None,
    typer.Option(
        help="The artifact's checkpoint.", show_default="that of its name in checkpoints/ or here"
    ),
]
RuntimeOption = Annotated[
    list[str] | None,
    typer.Option("--runtime", help="Only this runtime; may be repeated.", show_default=False),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        max=1024,
        help="Threads a candidate; the physical cores available if left out.",
        show_default=False,
    ),
]
BatchOption = Annotated[int, typer.Option(help="Images a call.")]
RoundsOption = Annotated[int, typer.Option(help="Turns of each candidate.")]
DurationOption = Annotated[float, typer.Option(help="Seconds a turn; a longer call is made once.")]
WarmupOption = Annotated[int, typer.Option(help="Untimed calls after the first.")]
DeviceOption = Annotated[str, typer.Option(help="Of the PyTorch baselines: auto, cpu or cuda.")]
ImageOption = Annotated[
    Path | None, typer.Option(help="An image in place of a drawn face.", show_default=False)
]
TimeoutOption = Annotated[
    float, typer.Option(help="Seconds a candidate may take to open or for a turn.")
]
LimitOption = Annotated[
    int | None, typer.Option(help="Images a class at most.", show_default=False)
]
OutsideOption = Annotated[
    bool,
    typer.Option(
        "--allow-outside", help="Also read images that a dataset's list names outside its folder."
    ),
]
