"""``motivnet predict``: the emotions of faces in images, videos, a camera and streams."""

from __future__ import annotations

import contextlib
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet.command_line import INTERRUPTED, say
from motivnet_engines.cli.options import (
    PATH,
    ArtifactOption,
    ClassesOption,
    DetectorOption,
    NoDetectOption,
    RuntimeOption,
    ThreadsOption,
    TrustEnginesOption,
    UnknownOption,
    check_detection,
    chosen_artifact,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motivnet_engines.cli.predict_report import Report, RunOptions
    from motivnet_engines.cli.predict_sources import Source
    from motivnet_engines.inference.classifier import EmotionClassifier
    from motivnet_engines.writers.sink import Format


_SMOOTH = 0.5


class FormatName(StrEnum):
    """Choices of ``--format``."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def predict(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            help="Images, folders of them, patterns ('photos/**/*.jpg'), videos, rtsp:// streams.",
            show_default=False,
        ),
    ] = None,
    artifact: ArtifactOption = None,
    runtime: RuntimeOption = None,
    trust_engines: TrustEnginesOption = False,
    threads: ThreadsOption = None,
    detector: DetectorOption = None,
    no_detect: NoDetectOption = False,
    unknown: UnknownOption = False,
    classes: ClassesOption = None,
    form: Annotated[
        FormatName | None,
        typer.Option(
            "--format",
            help="How results are written.",
            show_default="table, or by the name of --out",
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
            help="A folder for copies with faces drawn in, with none of them yet; or one video's copy.",
            **PATH,
        ),
    ] = None,
    montage: Annotated[
        Path | None,
        typer.Option(
            help="A picture of all faces with their labels; beyond 96, more in NAME-2 ..., which may not exist yet.",
            **PATH,
        ),
    ] = None,
    camera: Annotated[int | None, typer.Option(help="A camera's number; Ctrl-C ends it.")] = None,
    every: Annotated[
        int | None, typer.Option(min=1, help="Videos: classify every Nth frame.", show_default="1")
    ] = None,
    realtime: Annotated[
        bool,
        typer.Option(
            "--realtime", help="Videos: keep to the clock and drop late frames, as for a camera."
        ),
    ] = False,
    smooth: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Videos: seconds to smooth probabilities over; 0 is off.",
            show_default="0.5",
        ),
    ] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="A plot (PNG) of one video's emotions.", **PATH)
    ] = None,
) -> None:
    """Find the faces in pictures and print the emotion that each shows; exit 1 if something could not be read."""
    from motivnet_engines.cli.predict_checks import (
        check_formats,
        check_outputs,
        check_video_options,
        load_packages,
    )
    from motivnet_engines.cli.predict_report import RunOptions
    from motivnet_engines.cli.predict_sources import (
        annotated_targets,
        montage_names,
        sources_from_arguments,
    )
    from motivnet_engines.writers.sink import chosen_format

    chosen = chosen_format(form.value if form else None, out)
    check_formats(chosen, embeddings=embeddings, montage=montage, timeline=timeline)
    sources = sources_from_arguments(images or (), camera_number=camera)
    check_video_options(sources, timeline=timeline, every=every, realtime=realtime, smooth=smooth)
    options = RunOptions(
        targets=annotated_targets(sources, annotate),
        names={} if montage is None else montage_names(sources),
        montage=montage,
        timeline=timeline,
        every=1 if every is None else every,
        realtime=realtime,
        smooth=_SMOOTH if smooth is None else smooth,
    )
    check_outputs(sources, options, annotate=annotate, out=out, inputs=(detector, classes))
    load_packages(sources, options)
    with _opened(
        artifact, runtime=runtime, threads=threads, detector=detector, no_detect=no_detect, unknown=unknown,
        classes=classes, trust_engines=trust_engines,
    ) as classifier:  # fmt: skip
        try:
            report = _run(
                classifier, sources, options=options, form=chosen, out=out, embeddings=embeddings
            )
        except KeyboardInterrupt:
            say("error: stopped by Ctrl-C before the first result; nothing is written", err=True)
            raise
    _tell(report, out)


def _opened(
    artifact: Path | None,
    *,
    runtime: str | None,
    trust_engines: bool,
    threads: int | None,
    detector: Path | None,
    no_detect: bool,
    unknown: bool,
    classes: Path | None,
) -> EmotionClassifier:
    from motivnet.progress import progress
    from motivnet_engines.faces import open_detector
    from motivnet_engines.inference.classifier import EmotionClassifier

    check_detection(detector, no_detect=no_detect)
    folder = chosen_artifact(artifact)
    with progress("opening"):
        return EmotionClassifier.open(
            folder,
            runtime=runtime,
            trust_engines=trust_engines,
            threads=threads,
            detector=None if no_detect else open_detector(detector),
            unknown=unknown,
            classes=classes,
        )


def _run(
    classifier: EmotionClassifier,
    sources: Sequence[Source],
    *,
    options: RunOptions,
    form: Format,
    out: Path | None,
    embeddings: bool,
) -> Report:
    from motivnet.progress import progress
    from motivnet_engines.cli.predict_report import Report
    from motivnet_engines.cli.predict_run import predict_sources
    from motivnet_engines.writers.sink import open_sink

    labels = classifier.labels
    with (
        open_sink(form, labels=labels, out=out, embeddings=embeddings) as write,
        contextlib.ExitStack() as stack,
    ):
        # Results that stream to a terminal are progress enough, and a bar among them is not.
        streamed = form != "table" and out is None and sys.stdout.isatty()
        advance = (
            (lambda _: None)
            if streamed
            else stack.enter_context(progress("predicting", total=len(sources)))
        )
        report = Report(record=write, advance=advance, total=len(sources))
        predict_sources(classifier, sources, options=options, report=report)
    return report


def _tell(report: Report, out: Path | None) -> None:
    """Writes what is to be said besides the results, and exits with 1 or 130 if they are not all there."""
    for remark in report.remarks:
        say(remark, err=True)
    for error in report.errors:
        say(f"error: {error}", err=True)
    if report.stopped is not None:
        kept = "" if out is None else f"; {out} holds the results so far"
        say(f"error: {report.stopped}{kept}", err=True)
        raise typer.Exit(INTERRUPTED)
    if report.errors:
        raise typer.Exit(1)
