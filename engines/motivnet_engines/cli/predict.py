"""``motivnet predict``: the emotions of faces in images, videos, a camera and streams."""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet.command_line import INTERRUPTED, say, warn
from motivnet.errors import ConfigError
from motivnet_engines.cli.options import (
    PATH,
    AdaptedClassesOption,
    ArtifactOption,
    DetectorOption,
    EscalateOption,
    MaxPixelsOption,
    NoDetectOption,
    RuntimeOption,
    ThreadsOption,
    TrustEnginesOption,
    UnknownOption,
    check_detection,
    check_escalate,
    check_unknown,
    choose_artifact,
    user_limits,
)
from motivnet_engines.writers.formats import Format, choose_format

if TYPE_CHECKING:
    from motivnet_engines.cli.predict_run import PredictRun
    from motivnet_engines.cli.predict_sources import Sources


def predict(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            help="Images, folders, patterns ('a/**/*.jpg'), videos, addresses (https://, "
            "rtsp://), - for a picture from standard input.",
            show_default=False,
        ),
    ] = None,
    artifact: ArtifactOption = None,
    escalate: EscalateOption = None,
    runtime: RuntimeOption = None,
    trust_engines: TrustEnginesOption = False,
    threads: ThreadsOption = None,
    detector: DetectorOption = None,
    no_detect: NoDetectOption = False,
    max_pixels: MaxPixelsOption = 250_000_000,
    unknown: UnknownOption = False,
    adapted_classes: AdaptedClassesOption = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="How results are written.",
            show_default="table, or by the suffix of --out",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A file for the results.", show_default="standard output", **PATH),
    ] = None,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="JSON Lines: each face's embedding too.")
    ] = False,
    annotate: Annotated[
        Path | None,
        typer.Option(
            help="An empty folder for copies with the faces drawn in, or a file for the copy of "
            "one video.",
            **PATH,
        ),
    ] = None,
    montage: Annotated[
        Path | None,
        typer.Option(
            help="A picture of all faces with their labels; beyond 96 faces, more in NAME-2 and so "
            "on, which may not exist yet.",
            **PATH,
        ),
    ] = None,
    camera: Annotated[int | None, typer.Option(help="A camera's number; Ctrl-C ends it.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Videos: classify every Nth frame.")] = 1,
    realtime: Annotated[
        bool,
        typer.Option(
            "--realtime", help="Videos: keep to the clock and drop late frames, as for a camera."
        ),
    ] = False,
    smooth: Annotated[
        float,
        typer.Option(min=0, help="Videos: seconds to smooth probabilities over; 0 is off."),
    ] = 0.5,
    timeline: Annotated[
        Path | None, typer.Option(help="A plot (PNG) of one video's emotions.", **PATH)
    ] = None,
) -> None:
    """Find the faces in pictures and print the emotion of each; exit 1 if one cannot be read."""
    from motivnet_engines.cli.predict_sources import find_sources

    output_format = choose_format(form, out)
    if embeddings and output_format != "jsonl":
        raise ConfigError(f"--embeddings has no place in a {output_format}; choose --format jsonl")
    check_detection(detector, no_detect=no_detect)
    check_unknown(adapted_classes, unknown=unknown)
    check_escalate(adapted_classes, escalate=escalate)
    with contextlib.ExitStack() as stack:
        limits = user_limits(max_pixels)
        found = find_sources(images or (), camera_number=camera, stack=stack, limits=limits)
        _say_what_is_not_read(found)
        folder = choose_artifact(artifact)
        _check_named_files(folder, detector, adapted_classes)

        from motivnet.terminal import progress
        from motivnet_engines.cli.predict_files import check_outputs, choose_pictures
        from motivnet_engines.cli.predict_run import PredictRun
        from motivnet_engines.faces import open_detector
        from motivnet_engines.inference.cascade import Cascade, open_classifier
        from motivnet_engines.writers.text import open_writer

        pictures = choose_pictures(
            found.sources, annotate=annotate, montage=montage, timeline=timeline
        )
        inputs = (*found.paths, detector, adapted_classes)
        check_outputs(out, pictures, annotate, inputs=inputs)
        _import_for(found, timeline)
        with progress("opening"):
            classifier = open_classifier(
                folder,
                escalate=escalate,
                runtime=runtime,
                trust_engines=trust_engines,
                threads=threads,
                detector=None if no_detect else open_detector(detector),
                unknown=unknown,
                adapted_classes=adapted_classes,
                limits=limits,
            )
        stack.callback(classifier.close)
        # Results that stream to a terminal show progress themselves.
        streams = output_format != "table" and out is None and sys.stdout.isatty()
        try:
            with (
                open_writer(
                    output_format, labels=classifier.labels, out=out, embeddings=embeddings
                ) as record,
                contextlib.nullcontext(lambda _: None)
                if streams
                else progress("predicting", total=len(found.sources)) as advance,
            ):
                run = PredictRun(
                    classifier,
                    found.sources,
                    pictures,
                    record=record,
                    advance=advance,
                    every=every,
                    realtime=realtime,
                    smooth=smooth,
                )
                run.run()
        except KeyboardInterrupt:
            say("error: stopped by Ctrl-C before the first result; nothing is written", err=True)
            raise
        if isinstance(classifier, Cascade):
            run.remarks.append(classifier.summary())
    _report(run, found, out)


def _say_what_is_not_read(found: Sources) -> None:
    for remark in found.remarks:
        warn(remark)
    for error in found.errors:
        say(f"error: {error}", err=True)


def _check_named_files(artifact: Path, *others: Path | None) -> None:
    """Refuse a wrong name before what takes time: imports, hashes, the model."""
    from motivnet.artifact import open_artifact
    from motivnet.files import open_regular

    open_artifact(artifact)
    for path in filter(None, others):
        open_regular(path).close()


def _import_for(found: Sources, timeline: Path | None) -> None:
    """Import packages without which there is no result, before the model is opened."""
    if found.has_only_videos:
        importlib.import_module("motivnet_engines.video.run")
    if timeline is not None:
        importlib.import_module("motivnet_engines.writers.timeline")


def _report(run: PredictRun, found: Sources, out: Path | None) -> None:
    """Print what there is to say besides the results; exit with 1 or 130 if some are missing."""
    for remark in run.remarks:
        say(remark, err=True)
    for error in run.errors:
        say(f"error: {error}", err=True)
    if run.stopped is not None:
        kept = "" if out is None else f"; {out} holds the results so far"
        say(f"error: {run.stopped}{kept}", err=True)
        raise typer.Exit(INTERRUPTED)
    if run.errors or found.errors:
        raise typer.Exit(1)
