"""``motivnet predict-dataset``: every image of a dataset on a Ray cluster, into Parquet."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from motivnet import command_line
from motivnet.command_line import JSONOption

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""Ray reads these when it is imported: nothing is reported to its makers, and its workers' deaths are our errors."""


def predict_dataset(
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder of images, a .txt file with a path a line, or .parquet with a column path.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="A folder for the Parquet files.", show_default=False)],
    artifact: Annotated[
        Path | None, typer.Option(help="The artifact's folder.", show_default="the newest in artifacts/")
    ] = None,
    shard_size: Annotated[int, typer.Option(help="Images of one output file.")] = 1_000,
    workers: Annotated[
        int | None, typer.Option(help="Processes of the cluster.", show_default="as many as it has room for")
    ] = None,
    cpus: Annotated[float, typer.Option(help="Cores of each worker.")] = 1,
    gpus: Annotated[float, typer.Option(help="GPUs of each worker.")] = 0,
    runtime: Annotated[
        str | None, typer.Option(help="A runtime's name.", show_default="the first verified one")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Faces of one call.", show_default="the artifact's")] = None,
    detector: Annotated[
        Path | None, typer.Option(help="The face detector YuNet as a file.", show_default="fetched once")
    ] = None,
    no_detect: Annotated[bool, typer.Option("--no-detect", help="Each image is one face.")] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Label what is like no calibrated image 'unknown'.")
    ] = False,
    classes: Annotated[
        Path | None, typer.Option(help="Classes that 'motivnet adapt' learnt.", show_default="the model's")
    ] = None,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="Write each face's embedding too.")] = False,
    json: JSONOption = False,
) -> None:
    """Predict every image of a dataset on a Ray cluster, into Parquet; run it again to go on after an interruption."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    from motivnet.artifact import ARTIFACTS, newest_artifact
    from motivnet.progress import progress
    from motivnet_engines.serving.ray import dataset
    from motivnet_engines.serving.ray.cluster import Workers
    from motivnet_engines.serving.ray.reading import ReadingOptions

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    options = ReadingOptions(
        artifact=str(artifact or newest_artifact(ARTIFACTS)),
        runtime=runtime,
        batch_size=batch_size,
        no_detect=no_detect,
        detector=None if detector is None else str(detector),
        unknown=unknown,
        classes=None if classes is None else str(classes),
        embeddings=embeddings,
    )
    # Ray prints the deaths of workers to standard output, where the result belongs.
    with progress("predicting") as advance, contextlib.redirect_stdout(sys.stderr):
        summary = dataset.predict_dataset(
            source,
            options,
            out,
            shard_size=shard_size,
            workers=Workers(count=workers, cpus=cpus, gpus=gpus),
            on_images=advance,
        )
    if json:
        command_line.print_json(summary)
    else:
        sys.stdout.write(
            f"{out}: {summary.images:,} images in {summary.shards:,} files, {summary.errors:,} could not be read "
            f"({summary.skipped:,} files were there before)\n"
        )
