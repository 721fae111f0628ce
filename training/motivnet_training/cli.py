"""``motivnet-train``: fit, cache, datasets and demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet.command_line import JSONOption, make_app, print_json, run, say
from motivnet_training.datasets_command import datasets
from motivnet_training.fit_command import cache, fit

if TYPE_CHECKING:
    from motivnet_training.demo import DemoResult

app = make_app("Train a MotivNet.")
app.command()(fit)
app.command()(cache)
app.command()(datasets)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The checkpoint to write.")] = Path(
        "checkpoints/demo.safetensors"
    ),
    faces: Annotated[int, typer.Option(min=7, help="Faces to draw for training.")] = 3500,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a step.")] = 32,
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**63 - 1, help="Of the weights, the order and the drawn faces."),
    ] = 0,
    json: JSONOption = False,
) -> None:
    """Train the tiny model on faces that this command draws itself, on the CPU, in a minute or two.

    A model that gets fewer than 90% of the faces held out right is not written.
    """
    from motivnet.config import ModelConfig
    from motivnet_training.demo import train_on_drawn_faces
    from motivnet_training.recipe import changed, recipe_named

    recipe = changed(
        recipe_named("scratch"), epochs=epochs, batch_size=batch_size, augmentations="mirror"
    )
    _print(
        train_on_drawn_faces(ModelConfig.named("tiny"), out, count=faces, recipe=recipe, seed=seed),
        as_json=json,
    )


def main() -> None:
    """Entry point of ``motivnet-train``."""
    run(app)


def _print(result: DemoResult, *, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    say(
        f"{result.checkpoint}: validation accuracy {result.validation_accuracy:.1%} on {result.validation_images} "
        f"images after {result.epochs} epochs on {result.training_images}, {result.seconds:.0f} s"
    )
