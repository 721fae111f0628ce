"""``motivnet-train``: fit and demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet.command_line import JSONOption, make_app, print_json, run

if TYPE_CHECKING:
    from motivnet_training.train import TrainingResult

app = make_app("Train a MotivNet.")

Epochs = Annotated[int, typer.Option(min=1, help="Passes over the training images.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Images in a step.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the weights, the order and the drawn faces.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The checkpoint to write.")] = Path("checkpoints/demo.safetensors"),
    faces: Annotated[int, typer.Option(min=7, help="Faces to draw for training.")] = 3500,
    epochs: Epochs = 10,
    batch_size: BatchSize = 32,
    seed: Seed = 0,
    json: JSONOption = False,
) -> None:
    """Train the tiny model on faces that this command draws itself, on the CPU, in a minute or two.

    A model that gets fewer than 90% of the faces held out right is not written.
    """
    from motivnet.config import ModelConfig
    from motivnet_training.train import TrainingOptions, train_on_drawn_faces

    options = TrainingOptions(epochs=epochs, batch_size=batch_size, seed=seed)
    _print(train_on_drawn_faces(ModelConfig.named("tiny"), out, count=faces, options=options), as_json=json)


@app.command()
def fit(
    data: Annotated[Path, typer.Option(help="A folder with a folder of images per class, or with train/ and val/.")],
    out: Annotated[
        Path | None, typer.Option(help="The checkpoint to write [default: checkpoints/NAME of the data].")
    ] = None,
    size: Annotated[str, typer.Option(help="A named size, or a configuration in a .json file.")] = "tiny",
    classes: Annotated[int, typer.Option(min=1, help="7 emotions, or 8 with contempt.")] = 7,
    encoder: Annotated[Path | None, typer.Option(help="A weights file whose encoder to start from.")] = None,
    preprocess: Annotated[str, typer.Option(help="stretch or square-white-pad.")] = "stretch",
    epochs: Epochs = 10,
    batch_size: BatchSize = 32,
    lr: Annotated[float, typer.Option(help="Learning rate of the head, and of an encoder from scratch.")] = 1e-3,
    encoder_lr: Annotated[
        float | None, typer.Option(help="Learning rate of the encoder [default: --lr, or a tenth with --encoder].")
    ] = None,
    seed: Seed = 0,
    json: JSONOption = False,
) -> None:
    """Train a model on a folder of labelled images."""
    from motivnet.config import config_from_name_or_path
    from motivnet.preprocess import InputRecipe
    from motivnet_training.module import Schedule
    from motivnet_training.train import TrainingOptions, train_on_folder

    config = config_from_name_or_path(size, num_classes=classes)
    rate = encoder_lr if encoder_lr is not None else lr * (0.1 if encoder else 1.0)
    options = TrainingOptions(
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        schedule=Schedule(encoder_lr=rate, decoder_lr=lr),
        accelerator="auto",
    )
    recipe = InputRecipe.named(preprocess, size=config.encoder.image_size)
    target = out or Path("checkpoints") / f"{data.resolve().name}.safetensors"
    _print(train_on_folder(config, data, target, recipe=recipe, options=options, encoder=encoder), as_json=json)


def main() -> None:
    """Entry point of ``motivnet-train``."""
    run(app)


def _print(result: TrainingResult, *, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    typer.echo(
        f"{result.checkpoint}: validation accuracy {result.validation_accuracy:.1%} on {result.validation_images} "
        f"images after {result.epochs} epochs on {result.training_images}, {result.seconds:.0f} s"
    )
