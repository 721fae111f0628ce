"""``motivnet-train refit``: a cheaper model from a trained one, its head trained again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from motivnet.command_line import JSONOption, print_json, say
from motivnet.path_kind import check_exist
from motivnet_training.options import (
    AllowOutside,
    BatchSize,
    DeviceOption,
    Epochs,
    HeadRate,
    PrecisionOption,
    Resume,
)
from motivnet_training.recipe import change_recipe

if TYPE_CHECKING:
    from motivnet_training.refit import RefitSummary


def refit(
    checkpoint: Annotated[
        Path, typer.Argument(help="The trained model's weights.", show_default=False)
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="A dataset: see motivnet-train datasets; or a folder of images without labels.",
            show_default=False,
        ),
    ],
    image_size: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHTxWIDTH",
            help="Size of the model's input, such as 512x384 [default: the checkpoint's].",
            show_default=False,
        ),
    ] = None,
    keep_tokens: Annotated[
        float | None,
        typer.Option(
            help="Share of the tokens to keep, such as 0.6: those that the head uses most.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The run folder, or a .safetensors file beside a run folder of its name "
            "[default: runs/NAME of the checkpoint, the size and the share].",
            show_default=False,
        ),
    ] = None,
    unlabelled: Annotated[
        bool,
        typer.Option(
            "--unlabelled", help="Learn from the full model's answers, whatever labels there are."
        ),
    ] = False,
    preprocess: Annotated[
        Literal["stretch", "square-white-pad"] | None,
        typer.Option(help="Preprocessing [default: the checkpoint's].", show_default=False),
    ] = None,
    epochs: Epochs = None,
    lr: HeadRate = None,
    encoder_lr: Annotated[
        float | None,
        typer.Option(
            help="Also train the encoder, at this learning rate: no tokens are cached then.",
            show_default=False,
        ),
    ] = None,
    batch_size: BatchSize = None,
    precision: PrecisionOption = None,
    tokens: Annotated[
        Path | None,
        typer.Option(
            help="Folder of cached tokens and answers, which several refits may share "
            "[default: tokens in the run folder].",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
    resume: Resume = False,
    allow_outside: AllowOutside = False,
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**63 - 1, help="Seed of split, order and mirrored images."),
    ] = 0,
    json: JSONOption = False,
) -> None:
    """Make a trained model cheaper: smaller images or fewer tokens, and its head trained again.

    The encoder stays as it is, and its tokens are computed once. Images without labels teach the
    head what the full model answers. The result says what the model gets right before, after, and
    in full.
    """
    check_exist(checkpoint, data)

    from motivnet.config import image_size_from_text
    from motivnet_training.devices import Devices
    from motivnet_training.refit import refit as refit_model
    from motivnet_training.refit_request import REFIT, RefitRequest

    changes = {
        "epochs": epochs,
        "decoder_lr": lr,
        "batch_size": batch_size,
        "precision": precision,
        "encoder_lr": encoder_lr,
        "cached": False if encoder_lr else None,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    request = RefitRequest(
        checkpoint=checkpoint,
        data=data,
        out=out or _default_out(checkpoint, image_size, keep_tokens),
        image_size=image_size_from_text(image_size) if image_size else None,
        keep_tokens=keep_tokens,
        unlabelled=unlabelled,
        preprocess=preprocess,
        recipe=change_recipe(REFIT, **given),
        tokens=tokens,
        devices=Devices(device=device),
        seed=seed,
        resume=resume,
        allow_outside=allow_outside,
    )
    on_message = (lambda _: None) if json else partial(say, err=True)
    summary = refit_model(request, on_message=on_message)
    if json:
        print_json(summary)
    else:
        _print(summary)


def _default_out(checkpoint: Path, image_size: str | None, keep_tokens: float | None) -> Path:
    from motivnet.checkpoints import name_of

    parts = [name_of(checkpoint), image_size, keep_tokens and f"{keep_tokens:g}"]
    return Path("runs") / "-".join(str(part) for part in parts if part is not None)


def _print(summary: RefitSummary) -> None:
    from motivnet.terminal import show, table

    height, width = summary.image_size
    right = "accuracy" if summary.targets == "labels" else "agreement with the full model"
    rows = table("model", f">{right}", ">GFLOP per image")
    for name, metrics, flop in (
        ("full", summary.full, summary.full_flop),
        ("smaller, before the refit", summary.before, summary.flop),
        ("smaller, refitted", summary.validation, summary.flop),
    ):
        rows.add_row(name, f"{metrics.accuracy:.1%}", f"{flop / 1e9:.3g}")
    show(rows)
    say(
        f"{summary.checkpoint}: {height}x{width}, {summary.tokens} tokens, "
        f"{summary.full_flop / summary.flop:.1f} times cheaper, {right} {_points(summary)} points "
        f"on {summary.validation.images} validation images, whose loss chose the epoch; "
        f"{summary.seconds:.0f} s"
    )
    if summary.test is not None:
        say(f"test: {right} {summary.test.accuracy:.1%} on {summary.test.images} images")


def _points(summary: RefitSummary) -> str:
    return f"{100 * (summary.validation.accuracy - summary.full.accuracy):+.1f}"
