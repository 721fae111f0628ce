"""Options that several commands of ``motivnet-train`` have."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from motivnet_training.recipe import Precision

NumClasses = Annotated[int, typer.Option(min=1, help="7 emotions, or 8 with contempt.")]
AllowOutside = Annotated[
    bool,
    typer.Option(
        "--allow-outside", help="Also read images that a dataset's list names outside its folder."
    ),
]
Epochs = Annotated[
    int | None, typer.Option(min=1, help="Passes over the images.", show_default=False)
]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Images per batch.", show_default=False)]
HeadRate = Annotated[
    float | None, typer.Option(help="Learning rate of the head.", show_default=False)
]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option("--precision", help="Precision of the computation.", show_default=False),
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to compute.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Processes that prepare batches [default: by the processors].",
        show_default=False,
    ),
]
CheckpointMinutes = Annotated[
    float, typer.Option(min=0.0, help="Minutes between saved states within an epoch.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run folder's training.")]
