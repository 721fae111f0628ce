"""``motivnet-train distill``: teach a small student what a large model answers."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from motivnet.command_line import JSONOption, print_json, say
from motivnet.path_kind import check_exist
from motivnet_training.options import (
    AllowOutside,
    CheckpointMinutes,
    DeviceOption,
    PrecisionOption,
    Resume,
    Workers,
)


def distill(
    teacher: Annotated[
        Path, typer.Option(help="The checkpoint of the model that teaches.", show_default=False)
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="A folder of images, labelled or not, or a dataset: see motivnet-train datasets.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="The student: tiny, vit-ti, vit-s, vit-b, another named model, or a configuration "
            "in a .json file."
        ),
    ] = "vit-ti",
    image_size: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHTxWIDTH",
            help="Size of the student's input, such as 256x192 [default: the model's].",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The run folder [default: runs/ with the names of teacher and student].",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the images [default: 120].", show_default=False),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images per batch [default: 64].", show_default=False)
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Learning rate [default: 0.001].", show_default=False)
    ] = None,
    views: Annotated[
        int,
        typer.Option(
            min=1, help="Views of each image to which the teacher answers; they are kept."
        ),
    ] = 16,
    answers: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the teacher's answers, which several students may share "
            "[default: answers in the run folder].",
            show_default=False,
        ),
    ] = None,
    precision: PrecisionOption = None,
    device: DeviceOption = "auto",
    workers: Workers = None,
    checkpoint_minutes: CheckpointMinutes = 10.0,
    resume: Resume = False,
    allow_outside: AllowOutside = False,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Seed of weights, split, order and views.")
    ] = 0,
    json: JSONOption = False,
) -> None:
    """Teach a small student what a large model answers, with or without labels.

    The student learns the teacher's probabilities and embeddings of several views of each image,
    and the labels where there are any; images of classes that the model does not have are learnt
    from too. student.safetensors in the run folder is an ordinary checkpoint, which says how close
    to its teacher it is on images that it has not learnt from.
    """
    check_exist(teacher, data)

    from motivnet.checkpoints import load_checkpoint, name_of
    from motivnet.config import config_from_name_or_path, image_size_from_text
    from motivnet_training.devices import Devices
    from motivnet_training.distill import DistillRequest
    from motivnet_training.distill import distill as teach
    from motivnet_training.distill.request import distillation_recipe

    classes = load_checkpoint(teacher, quiet=True).config.decoder.num_classes
    config = config_from_name_or_path(model, num_classes=classes)
    if image_size is not None:
        config = config.at(image_size_from_text(image_size))
    changes: dict[str, object] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "precision": precision,
    }
    if lr is not None:
        changes |= {"encoder_lr": lr, "decoder_lr": lr}
    request = DistillRequest(
        teacher=teacher,
        data=data,
        out=out or Path("runs") / f"{name_of(Path(os.path.realpath(teacher)))}-{Path(model).stem}",
        config=config,
        recipe=distillation_recipe(
            **{key: value for key, value in changes.items() if value is not None}
        ),
        views=views,
        answers=answers,
        seed=seed,
        devices=Devices(device=device, workers=workers),
        checkpoint_seconds=60 * checkpoint_minutes,
        resume=resume,
        allow_outside=allow_outside,
    )
    summary = teach(request, on_message=(lambda _: None) if json else partial(say, err=True))
    if json:
        print_json(summary)
        return

    from motivnet.artifact.fidelity import describe_fidelity
    from motivnet.terminal import details, show

    show(details(describe_fidelity(summary.fidelity, config)))
    say(
        f"{summary.checkpoint}: agrees with its teacher on {summary.fidelity.agreement:.1%} of "
        f"{summary.fidelity.images} images after {summary.epochs} epochs, "
        f"{summary.seconds:.0f} s ({summary.teacher_seconds:.0f} s of them the teacher's answers)"
    )
