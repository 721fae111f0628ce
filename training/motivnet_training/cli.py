"""``motivnet-train``: fit, refit, distill, cache, datasets and demo."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from motivnet.command_line import JSONOption, interruptible, make_app, print_json, run, say
from motivnet.errors import ConfigError, ProcessLostError, TrainingStoppedError
from motivnet.path_kind import check_exist
from motivnet_training.datasets_command import datasets
from motivnet_training.distill_command import distill
from motivnet_training.options import (
    AllowOutside,
    BatchSize,
    CheckpointMinutes,
    DeviceOption,
    Epochs,
    HeadRate,
    NumClasses,
    PrecisionOption,
    Resume,
    Workers,
)
from motivnet_training.recipe import RecipeName, change_recipe, get_recipe
from motivnet_training.refit_command import refit

if TYPE_CHECKING:
    from motivnet.config import ModelConfig
    from motivnet_training.recipe import TrainingRecipe
    from motivnet_training.summary import TrainingSummary

app = make_app("Train a MotivNet.")
app.command(short_help="Show what a dataset is recognised as")(datasets)
app.command(short_help="Make a trained model cheaper")(refit)
app.command(short_help="Teach a small model what a large one answers")(distill)

Data = Annotated[
    Path, typer.Option(help="A dataset: see motivnet-train datasets.", show_default=False)
]
Recipe = Annotated[
    RecipeName | None,
    typer.Option(
        help="The training recipe [default: paper with --encoder, else scratch].",
        show_default=False,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="A named model, or a configuration in a .json file "
        "[default: that of --encoder, else tiny].",
        show_default=False,
    ),
]
Preprocess = Annotated[str, typer.Option(help="stretch or square-white-pad.")]
Align = Annotated[
    bool,
    typer.Option(
        "--align", help="Align each face by five points, in training and wherever the model runs."
    ),
]
ImageSize = Annotated[
    str | None,
    typer.Option(
        metavar="HEIGHTxWIDTH",
        help="Size of the model's input, such as 512x384; positions of --encoder are resampled.",
        show_default=False,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(help="A YAML file with values of the recipe to change.", show_default=False),
]
EMAOption = Annotated[bool, typer.Option("--ema", help="Take the EMA weights of --encoder.")]
Seed = Annotated[
    int,
    typer.Option(min=0, max=2**63 - 1, help="Seed of weights, split, order and augmentations."),
]


@app.command(short_help="Train a model on labelled faces")
def fit(
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(help="The run folder [default: runs/NAME of the data].", show_default=False),
    ] = None,
    recipe: Recipe = None,
    config: Config = None,
    model: Model = None,
    num_classes: NumClasses = 7,
    encoder: Annotated[
        Path | None,
        typer.Option(help="A weights file whose encoder to start from.", show_default=False),
    ] = None,
    ema: EMAOption = False,
    preprocess: Preprocess = "stretch",
    align: Align = False,
    image_size: ImageSize = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    accumulate: Annotated[
        int | None,
        typer.Option(min=1, help="Batches per step of the optimizer.", show_default=False),
    ] = None,
    lr: HeadRate = None,
    encoder_lr: Annotated[
        float | None,
        typer.Option(help="Learning rate of the encoder; 0 freezes it.", show_default=False),
    ] = None,
    precision: PrecisionOption = None,
    gradient_checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--gradient-checkpointing", help="Less memory, a third more time.", show_default=False
        ),
    ] = None,
    compile_model: Annotated[
        bool | None,
        typer.Option("--compile", help="Compile the model with torch.compile.", show_default=False),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="Epochs without a better one to stop after.", show_default=False),
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the cached tokens [default: tokens in the run folder].",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
    devices: Annotated[
        int, typer.Option(min=1, help="GPUs, or processes on a CPU, per machine.")
    ] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines.")] = 1,
    strategy: Annotated[
        Literal["auto", "ddp", "fsdp"], typer.Option(help="How several processes share the work.")
    ] = "auto",
    workers: Workers = None,
    checkpoint_minutes: CheckpointMinutes = 10.0,
    resume: Resume = False,
    export_published_layout: Annotated[
        bool,
        typer.Option(
            "--export-published-layout", help="Also write MotivNet.pth, with the published keys."
        ),
    ] = False,
    allow_outside: AllowOutside = False,
    seed: Seed = 0,
    json: JSONOption = False,
) -> None:
    """Train a model on labelled faces, from a Sapiens encoder or from scratch.

    The run folder holds best.safetensors, which motivnet-export build takes, last.safetensors, the
    state to resume from and a summary. SIGTERM and Ctrl-C save the state and end the training.
    """
    check_exist(data, encoder, config)

    from motivnet.preprocess import Preprocessing
    from motivnet_training.devices import Devices
    from motivnet_training.fit import fit as fit_model
    from motivnet_training.fit_request import FitRequest

    model_config = _find_model(
        model, encoder, image_size=image_size, ema=ema, num_classes=num_classes
    )
    changes = {
        "epochs": epochs,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "decoder_lr": lr,
        "encoder_lr": encoder_lr,
        "precision": precision,
        "gradient_checkpointing": gradient_checkpointing,
        "compile": compile_model,
        "patience": patience,
    }
    request = FitRequest(
        config=model_config,
        data=data,
        out=out or Path("runs") / Path(os.path.realpath(data)).stem,
        recipe=_find_recipe(recipe, config, has_encoder=encoder is not None, changes=changes),
        preprocess=Preprocessing.named(
            preprocess, size=model_config.encoder.image_size, align=align
        ),
        seed=seed,
        encoder=encoder,
        ema=ema,
        tokens=tokens,
        devices=Devices(
            device=device, devices=devices, nodes=nodes, strategy=strategy, workers=workers
        ),
        checkpoint_seconds=60 * checkpoint_minutes,
        resume=resume,
        published=export_published_layout,
        allow_outside=allow_outside,
    )

    summary = _run_in_all_processes(lambda: fit_model(request, on_message=_messages(json=json)))
    if summary is None:
        return
    if json:
        print_json(msgspec.to_builtins(summary))
        return
    metrics, counts, folder = summary.validation, summary.data, request.folder
    say(
        f"{summary.checkpoint}: validation accuracy {metrics.accuracy:.1%} on {metrics.images} "
        f"images in epoch {summary.epoch} of {summary.epochs} on {counts.training_images}, "
        f"{summary.seconds:.0f} s"
    )
    if summary.test is not None:
        say(f"test: accuracy {summary.test.accuracy:.1%} on {summary.test.images} images")
    if counts.duplicates:
        number = len(counts.duplicates)
        say(f"{number} images were in two splits and not trained on; see summary.json")
    say(f"report: {folder.curves}, {folder.confusion}, {folder.summary}")


@app.command(short_help="Compute the tokens of a frozen encoder")
def cache(
    data: Data,
    encoder: Annotated[
        Path, typer.Option(help="A weights file with the encoder.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder of the tokens; fit takes it with --tokens.", show_default=False),
    ],
    ema: EMAOption = False,
    recipe: Annotated[
        RecipeName, typer.Option(help="The training recipe whose images are used.")
    ] = "fast",
    config: Config = None,
    model: Model = None,
    num_classes: NumClasses = 7,
    preprocess: Preprocess = "stretch",
    align: Align = False,
    image_size: ImageSize = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 1,
    precision: PrecisionOption = None,
    device: DeviceOption = "auto",
    allow_outside: AllowOutside = False,
    seed: Seed = 0,
    json: JSONOption = False,
) -> None:
    """Compute a frozen encoder's tokens once, for the recipe fast.

    Repeat the command to continue after an interruption. The tokens of one image take 6.3 MB at
    sapiens-0.3b and 9.4 MB at sapiens-1b.
    """
    check_exist(data, encoder, config)

    from motivnet.preprocess import Preprocessing
    from motivnet_training.devices import Devices
    from motivnet_training.token_cache import cache_dataset

    model_config = _find_model(
        model, encoder, image_size=image_size, ema=ema, num_classes=num_classes
    )
    changes = {"precision": precision}
    summary = cache_dataset(
        data,
        out,
        encoder=encoder,
        ema=ema,
        config=model_config,
        recipe=_find_recipe(recipe, config, has_encoder=True, changes=changes),
        preprocess=Preprocessing.named(
            preprocess, size=model_config.encoder.image_size, align=align
        ),
        devices=Devices(device=device),
        batch_size=batch_size,
        seed=seed,
        allow_outside=allow_outside,
    )
    if json:
        print_json(msgspec.to_builtins(summary))
    else:
        say(
            f"{summary.folder}: tokens of {summary.images} images, "
            f"{summary.bytes / 1e6:,.1f} MB, {summary.seconds:.0f} s"
        )


@app.command(short_help="Train the tiny model on drawn faces")
def demo(
    out: Annotated[Path, typer.Option(help="The checkpoint to write.")] = Path(
        "checkpoints/demo.safetensors"
    ),
    faces: Annotated[int, typer.Option(min=7, help="Faces to draw for training.")] = 3500,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 32,
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**63 - 1, help="Seed of weights, order and drawn faces."),
    ] = 0,
    json: JSONOption = False,
) -> None:
    """Train the tiny model on faces that this command draws, on the CPU, in a minute or two.

    Each epoch is a line on standard error. A model that gets fewer than 90% of the validation
    faces right is not written.
    """
    from motivnet.config import ModelConfig
    from motivnet_training.demo import train_on_drawn_faces

    recipe = change_recipe(
        get_recipe("scratch"), epochs=epochs, batch_size=batch_size, augmentations="mirror"
    )
    with interruptible("nothing was written"):
        summary = train_on_drawn_faces(
            ModelConfig.named("tiny"),
            out,
            count=faces,
            recipe=recipe,
            seed=seed,
            on_message=_messages(json=json),
        )
    if json:
        print_json(msgspec.to_builtins(summary))
    else:
        say(
            f"{summary.checkpoint}: validation accuracy {summary.validation_accuracy:.1%} on "
            f"{summary.validation_images} images after {summary.epochs} epochs on "
            f"{summary.training_images}, {summary.seconds:.0f} s"
        )


def main() -> None:
    """Entry point of ``motivnet-train``."""
    run(app)


def _messages(*, json: bool) -> Callable[[str], None]:
    """Return what takes the lines about epochs: standard error, or nothing beside JSON."""
    return (lambda _: None) if json else partial(say, err=True)


def _find_recipe(
    name: RecipeName | None,
    config: Path | None,
    *,
    has_encoder: bool,
    changes: Mapping[str, object],
) -> TrainingRecipe:
    recipe = get_recipe(name or ("paper" if has_encoder else "scratch"))
    if config is not None:
        from motivnet_training.recipe_file import recipe_from_file

        recipe = recipe_from_file(config, recipe)
        if name is not None and recipe.name != name:
            raise ConfigError(
                f"{config} is for the recipe {recipe.name}, and --recipe says {name}; "
                "leave one of them out"
            )
    given = {key: value for key, value in changes.items() if value is not None}
    return change_recipe(recipe, **given)


def _find_model(
    name: str | None,
    encoder: Path | None,
    *,
    image_size: str | None,
    ema: bool,
    num_classes: int,
) -> ModelConfig:
    from motivnet.config import image_size_from_text

    config = _find_config(name, encoder, ema=ema, num_classes=num_classes)
    return config.at(image_size_from_text(image_size)) if image_size else config


def _find_config(
    name: str | None, encoder: Path | None, *, ema: bool, num_classes: int
) -> ModelConfig:
    from motivnet.checkpoints import load_checkpoint
    from motivnet.config import ModelConfig, config_from_name_or_path

    if name is not None or encoder is None:
        return config_from_name_or_path(name or "tiny", num_classes=num_classes)
    values = msgspec.to_builtins(load_checkpoint(encoder, ema=ema, quiet=True).config)
    values["decoder"] |= {"num_groups": num_classes, "num_classes": num_classes}
    return msgspec.convert(values, ModelConfig)


def _run_in_all_processes(train: Callable[[], TrainingSummary]) -> TrainingSummary | None:
    """Return the summary in the first of the processes that train together.

    The others say only what the first cannot know. One that was stopped exits with 0: Lightning
    kills the first process when another ends with an error.
    """
    from motivnet_training.devices import is_first_process

    if is_first_process():
        return train()
    logging.getLogger("motivnet.terminal").setLevel(logging.WARNING)  # the first one says it
    try:
        train()
    except TrainingStoppedError:
        sys.exit(0)
    except ProcessLostError:
        sys.exit(1)
    return None
