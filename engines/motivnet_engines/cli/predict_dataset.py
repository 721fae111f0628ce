"""``motivnet predict-dataset``: all images of a dataset on a Ray cluster, into Parquet."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from motivnet import command_line
from motivnet.command_line import JSONOption
from motivnet.printable import counted
from motivnet_engines.cli.options import (
    PATH,
    AdaptedClassesOption,
    ArtifactOption,
    DetectorOption,
    MaxPixelsOption,
    NoDetectOption,
    RuntimeOption,
    TrustEnginesOption,
    UnknownOption,
    check_unknown,
    choose_artifact,
    user_limits,
)
from motivnet_engines.serving.ray.environment import prepare_environment


def predict_dataset(
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder of images, a .txt file with one path per line, or .parquet with a "
            "column path.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="A folder for the Parquet files.", show_default=False, **PATH)
    ],
    artifact: ArtifactOption = None,
    shard_size: Annotated[int, typer.Option(help="Images per output file.")] = 1_000,
    address: Annotated[
        str | None,
        typer.Option(
            help="The Ray cluster to join, as host:port, or local.",
            show_default="RAY_ADDRESS, else Ray on this machine alone",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Worker processes.", show_default="as many as the cluster has room for"),
    ] = None,
    cpus: Annotated[float, typer.Option(help="Cores per worker.")] = 1,
    gpus: Annotated[float, typer.Option(help="GPUs per worker.")] = 0,
    runtime: RuntimeOption = None,
    trust_engines: TrustEnginesOption = False,
    batch_size: Annotated[
        int | None, typer.Option(help="Batch size.", show_default="the artifact's largest")
    ] = None,
    detector: DetectorOption = None,
    no_detect: NoDetectOption = False,
    max_pixels: MaxPixelsOption = 250_000_000,
    unknown: UnknownOption = False,
    adapted_classes: AdaptedClassesOption = None,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Write each face's embedding too.")
    ] = False,
    allow_outside: Annotated[
        bool,
        typer.Option(
            "--allow-outside", help="Also read images that a list names outside its folder."
        ),
    ] = False,
    json: JSONOption = False,
) -> None:
    """Predict every image of a dataset on a Ray cluster, into Parquet; exit 1 if one is unreadable.

    Run it again to continue after an interruption.
    """
    prepare_environment(address)
    from motivnet.terminal import progress

    check_unknown(adapted_classes, unknown=unknown)
    from motivnet_engines.serving.ray import dataset
    from motivnet_engines.serving.ray.cluster import Workers
    from motivnet_engines.serving.ray.reading import ReadingOptions

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    options = ReadingOptions(
        artifact=str(choose_artifact(artifact)),
        runtime=runtime,
        trust_engines=trust_engines,
        batch_size=batch_size,
        no_detect=no_detect,
        detector=None if detector is None else str(detector),
        unknown=unknown,
        adapted_classes=None if adapted_classes is None else str(adapted_classes),
        embeddings=embeddings,
        limits=user_limits(max_pixels),
    )
    unreadable: list[str] = []
    # Threads of Ray print the deaths of workers to standard output, where the result belongs.
    with progress("predicting") as advance, contextlib.redirect_stdout(sys.stderr):
        summary = dataset.predict_dataset(
            source,
            options,
            out,
            shard_size=shard_size,
            workers=Workers(count=workers, cpus=cpus, gpus=gpus),
            address=address,
            allow_outside=allow_outside,
            on_images=advance,
            on_unreadable=unreadable.append,
        )
    if json:
        command_line.print_json(summary)
    else:
        images, files = counted(summary.images, "image"), counted(summary.shards, "file")
        existed = f"{counted(summary.skipped, 'file')} existed before"
        command_line.say(
            f"{out}: {images} in {files}, {summary.errors:,} could not be read ({existed})"
        )
    for line in unreadable:
        command_line.say(f"error: {line}", err=True)
    if summary.errors:
        _print_errors(out, summary.errors)
    if summary.errors or unreadable:
        raise typer.Exit(1)


def _print_errors(out: Path, errors: int) -> None:
    from motivnet.printable import printable
    from motivnet_engines.serving.ray.shards import unread_images

    shown = unread_images(out, at_most=5)
    for path, reason in shown:
        # Most reasons begin with the path.
        line = reason if printable(path) in reason else f"{path}: {reason}"
        command_line.say(f"error: {line}", err=True)
    if errors > len(shown):
        command_line.say(f"... and {errors - len(shown):,} more", err=True)
