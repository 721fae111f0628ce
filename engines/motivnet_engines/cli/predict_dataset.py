"""``motivnet predict-dataset``: every image of a dataset on a Ray cluster, into Parquet."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet import command_line
from motivnet.command_line import JSONOption
from motivnet_engines.cli.options import (
    PATH,
    ArtifactOption,
    ClassesOption,
    DetectorOption,
    NoDetectOption,
    RuntimeOption,
    TrustEnginesOption,
    UnknownOption,
    chosen_artifact,
)
from motivnet_engines.serving.ray.environment import prepare_environment

if TYPE_CHECKING:
    from motivnet_engines.serving.ray.dataset import DatasetSummary

_ERRORS_SHOWN = 5


def predict_dataset(
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder of images, a .txt file with a path a line, or .parquet with a column path.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="A folder for the Parquet files.", show_default=False, **PATH)
    ],
    artifact: ArtifactOption = None,
    shard_size: Annotated[int, typer.Option(help="Images of one output file.")] = 1_000,
    address: Annotated[
        str | None,
        typer.Option(
            help="The Ray cluster to join, as host:port, or local.",
            show_default="RAY_ADDRESS, else Ray on this machine alone",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes of the cluster.", show_default="as many as it has room for"),
    ] = None,
    cpus: Annotated[float, typer.Option(help="Cores of each worker.")] = 1,
    gpus: Annotated[float, typer.Option(help="GPUs of each worker.")] = 0,
    runtime: RuntimeOption = None,
    trust_engines: TrustEnginesOption = False,
    batch_size: Annotated[
        int | None, typer.Option(help="Faces of one call.", show_default="the artifact's")
    ] = None,
    detector: DetectorOption = None,
    no_detect: NoDetectOption = False,
    unknown: UnknownOption = False,
    classes: ClassesOption = None,
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
    """Predict every image of a dataset on a Ray cluster, into Parquet; run it again to go on after
    an interruption.

    It exits with 1 if an image could not be read.
    """
    prepare_environment(address)
    from motivnet.progress import progress
    from motivnet_engines.serving.ray import dataset
    from motivnet_engines.serving.ray.cluster import Workers
    from motivnet_engines.serving.ray.reading import ReadingOptions

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    options = ReadingOptions(
        artifact=str(chosen_artifact(artifact)),
        runtime=runtime,
        trust_engines=trust_engines,
        batch_size=batch_size,
        no_detect=no_detect,
        detector=None if detector is None else str(detector),
        unknown=unknown,
        classes=None if classes is None else str(classes),
        embeddings=embeddings,
    )
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
        )
    if json:
        command_line.print_json(summary)
    else:
        command_line.say(_sentence(out, summary))
    if summary.errors:
        _tell_errors(out, summary.errors)
        raise typer.Exit(1)


def _sentence(out: Path, summary: DatasetSummary) -> str:
    images, files = _counted(summary.images, "image"), _counted(summary.shards, "file")
    before = f"{_counted(summary.skipped, 'file')} {'was' if summary.skipped == 1 else 'were'} there before"
    return f"{out}: {images} in {files}, {summary.errors:,} could not be read ({before})"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _tell_errors(out: Path, errors: int) -> None:
    from motivnet.printable import printable
    from motivnet_engines.serving.ray.parts import unread_images

    shown = unread_images(out, at_most=_ERRORS_SHOWN)
    for path, reason in shown:
        # Most reasons begin with the path.
        said = reason if printable(path) in reason else f"{path}: {reason}"
        command_line.say(f"error: {said}", err=True)
    if errors > len(shown):
        command_line.say(f"... and {errors - len(shown):,} more", err=True)
