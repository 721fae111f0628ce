"""``motivnet-train fit`` and ``cache``: a training on a dataset, and the tokens of a frozen encoder in advance."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet.command_line import JSONOption, print_json, say
from motivnet.errors import ConfigError

if TYPE_CHECKING:
    from motivnet.config import ModelConfig
    from motivnet_training.fit_request import FitRequest
    from motivnet_training.recipe import TrainingRecipe
    from motivnet_training.result import TrainingResult

Data = Annotated[
    Path, typer.Option(help="A dataset: see motivnet-train datasets.", show_default=False)
]
Recipe = Annotated[
    str | None,
    typer.Option(
        help="paper, fast or scratch [default: paper with --encoder, else scratch].",
        show_default=False,
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        help="A named size, or a configuration in a .json file [default: that of --encoder, else tiny].",
        show_default=False,
    ),
]
Classes = Annotated[int, typer.Option(min=1, help="7 emotions, or 8 with contempt.")]
Preprocess = Annotated[str, typer.Option(help="stretch or square-white-pad.")]
Config = Annotated[
    Path | None,
    typer.Option(help="A YAML file with values of the recipe to change.", show_default=False),
]
Tokens = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the cached tokens [default: tokens in the run folder].", show_default=False
    ),
]
Precision = Annotated[
    str | None, typer.Option(help="32-true, bf16-mixed or 16-mixed.", show_default=False)
]
Outside = Annotated[
    bool,
    typer.Option(
        "--allow-outside", help="Also read images that a dataset's list names outside its folder."
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        min=0, max=2**63 - 1, help="Of the weights, the split, the order and the augmentations."
    ),
]


def fit(
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(help="The run folder [default: runs/NAME of the data].", show_default=False),
    ] = None,
    recipe: Recipe = None,
    config: Config = None,
    size: Size = None,
    classes: Classes = 7,
    encoder: Annotated[
        Path | None,
        typer.Option(help="A weights file whose encoder to start from.", show_default=False),
    ] = None,
    preprocess: Preprocess = "stretch",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the images.", show_default=False)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images at a time.", show_default=False)
    ] = None,
    accumulate: Annotated[
        int | None,
        typer.Option(min=1, help="Batches behind a step of the optimiser.", show_default=False),
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Learning rate of the head.", show_default=False)
    ] = None,
    encoder_lr: Annotated[
        float | None,
        typer.Option(help="Learning rate of the encoder; 0 freezes it.", show_default=False),
    ] = None,
    precision: Precision = None,
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
        typer.Option(min=1, help="Epochs without a better one before it ends.", show_default=False),
    ] = None,
    tokens: Tokens = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    devices: Annotated[
        int, typer.Option(min=1, help="GPUs, or processes on a CPU, of each machine.")
    ] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines.")] = 1,
    strategy: Annotated[str, typer.Option(help="auto, ddp or fsdp.")] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes that prepare batches [default: by the processors].",
            show_default=False,
        ),
    ] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option(min=0.0, help="Between two savings of the state inside an epoch.")
    ] = 10.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the run folder's training was.")
    ] = False,
    export_published_layout: Annotated[
        bool,
        typer.Option(
            "--export-published-layout", help="Also write MotivNet.pth, with the published keys."
        ),
    ] = False,
    allow_outside: Outside = False,
    seed: Seed = 0,
    json: JSONOption = False,
) -> None:
    """Train a model on labelled faces, from a Sapiens encoder or from scratch.

    The run folder holds best.safetensors, which motivnet-export build takes, last.safetensors, the
    state to resume from, metrics, curves and a summary. SIGTERM and Ctrl-C save the state.
    """
    from motivnet.preprocess import InputRecipe
    from motivnet_training.devices import Hardware
    from motivnet_training.fit import fit as train
    from motivnet_training.fit_request import FitRequest
    from motivnet_training.recipe import changed

    model = _model_config(size, encoder, classes=classes)
    chosen = changed(
        _recipe(recipe, config, has_encoder=encoder is not None),
        epochs=epochs,
        batch_size=batch_size,
        accumulate=accumulate,
        decoder_lr=lr,
        encoder_lr=encoder_lr,
        precision=precision,
        gradient_checkpointing=gradient_checkpointing,
        compile=compile_model,
        patience=patience,
    )
    request = FitRequest(
        config=model,
        data=data,
        out=out or Path("runs") / data.resolve().stem,
        recipe=chosen,
        preprocess=InputRecipe.named(preprocess, size=model.encoder.image_size),
        seed=seed,
        encoder=encoder,
        tokens=tokens,
        hardware=Hardware(
            accelerator=accelerator,
            devices=devices,
            nodes=nodes,
            strategy=strategy,
            workers=workers,
        ),
        checkpoint_seconds=60 * checkpoint_minutes,
        resume=resume,
        published=export_published_layout,
        allow_outside=allow_outside,
    )
    result = _as_one_voice(lambda: train(request, announce=None if json else _say))
    if result is not None:
        _print(result, request, as_json=json)


def cache(
    data: Data,
    encoder: Annotated[
        Path, typer.Option(help="A weights file with the encoder.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder of the tokens; fit takes it with --tokens.", show_default=False),
    ],
    recipe: Annotated[
        str, typer.Option(help="The training recipe whose images are wanted.")
    ] = "fast",
    config: Config = None,
    size: Size = None,
    classes: Classes = 7,
    preprocess: Preprocess = "stretch",
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 1,
    precision: Precision = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu or cuda [default: cuda where there is one].", show_default=False),
    ] = None,
    allow_outside: Outside = False,
    seed: Seed = 0,
    json: JSONOption = False,
) -> None:
    """Compute a frozen encoder's tokens once, for the recipe fast; repeat the command to go on
    after an interruption.

    An image's tokens take 6.3 MB at sapiens-0.3b and 9.4 MB at sapiens-1b.
    """
    from motivnet.preprocess import InputRecipe
    from motivnet_training.cache import CacheRequest, cache_dataset
    from motivnet_training.recipe import changed

    model = _model_config(size, encoder, classes=classes)
    result = cache_dataset(
        CacheRequest(
            config=model,
            data=data,
            out=out,
            encoder=encoder,
            recipe=changed(_recipe(recipe, config, has_encoder=True), precision=precision),
            preprocess=InputRecipe.named(preprocess, size=model.encoder.image_size),
            seed=seed,
            allow_outside=allow_outside,
            batch_size=batch_size,
            device=device,
        )
    )
    if json:
        print_json(result)
    else:
        say(
            f"{result.folder}: tokens of {result.images} images, {result.bytes / 1e6:,.1f} MB, {result.seconds:.0f} s"
        )


def _recipe(name: str | None, config: Path | None, *, has_encoder: bool) -> TrainingRecipe:
    from motivnet_training.recipe import recipe_named
    from motivnet_training.recipe_file import recipe_from_file

    base = recipe_named(name or ("paper" if has_encoder else "scratch"))
    if config is None:
        return base
    recipe = recipe_from_file(config, base)
    if name is not None and recipe.name != name:
        raise ConfigError(
            f"{config} is for the recipe {recipe.name}, and --recipe says {name}; leave one of them out"
        )
    return recipe


def _model_config(size: str | None, encoder: Path | None, *, classes: int) -> ModelConfig:
    from motivnet.checkpoints import load_checkpoint
    from motivnet.config import config_from_name_or_path

    if size is not None or encoder is None:
        return config_from_name_or_path(size or "tiny", num_classes=classes)
    found = load_checkpoint(encoder, quiet=True).config
    decoder = dataclasses.replace(found.decoder, num_groups=classes, num_classes=classes)
    return dataclasses.replace(found, decoder=decoder)


def _as_one_voice(train: Callable[[], TrainingResult]) -> TrainingResult | None:
    """The result in the first of the processes that train together; the others say only what it
    cannot know.

    A process that was stopped ends well: Lightning kills the first process when another ends with
    an error.
    """
    from motivnet.errors import ProcessLostError, TrainingStoppedError
    from motivnet_training.devices import is_first_process

    if is_first_process():
        return train()
    try:
        train()
    except TrainingStoppedError:
        sys.exit(0)
    except ProcessLostError:
        sys.exit(1)
    return None


def _say(line: str) -> None:
    say(line, err=True)


def _print(result: TrainingResult, request: FitRequest, *, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    figures, data = result.validation, result.data
    say(
        f"{result.checkpoint}: validation accuracy {figures.accuracy:.1%} on {figures.images} images in epoch "
        f"{result.epoch} of {result.epochs} on {data.training_images}, {result.seconds:.0f} s"
    )
    if result.test is not None:
        say(f"test: accuracy {result.test.accuracy:.1%} on {result.test.images} images")
    if data.duplicates:
        say(f"{len(data.duplicates)} images were in two parts and not trained on; see summary.json")
    say(f"report: {request.folder.curves}, {request.folder.confusion}, {request.folder.summary}")
