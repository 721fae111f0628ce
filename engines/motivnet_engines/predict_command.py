"""``motivnet predict``: the emotions of faces in images, videos, a camera and streams."""

from __future__ import annotations

import contextlib
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motivnet_engines.classifier import EmotionClassifier
    from motivnet_engines.output.sink import Format
    from motivnet_engines.predict_run import RunOptions
    from motivnet_engines.predict_sources import Source


class FormatName(StrEnum):
    """Choices of ``--format``."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def predict(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            help="Images, folders of them, patterns ('photos/**/*.jpg'), videos, rtsp:// streams.", show_default=False
        ),
    ] = None,
    artifact: Annotated[
        Path | None, typer.Option(help="The artifact's folder.", show_default="the newest in artifacts/")
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="A runtime's name; 'motivnet info' lists them.", show_default="the first verified one"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads on the CPU.", show_default="the runtime's choice")
    ] = None,
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
    form: Annotated[
        FormatName | None,
        typer.Option("--format", help="How results are written.", show_default="table, or by the name of --out"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A file for the results.", show_default="standard output")] = None,
    annotate: Annotated[
        Path | None, typer.Option(help="A folder for copies with faces drawn in, or one video's copy.")
    ] = None,
    montage: Annotated[Path | None, typer.Option(help="A picture of all faces with their labels.")] = None,
    camera: Annotated[int | None, typer.Option(help="A camera's number; Ctrl-C ends it.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Videos: classify every Nth frame.")] = 1,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Videos: keep to the clock and drop late frames, as for a camera.")
    ] = False,
    smooth: Annotated[float, typer.Option(min=0, help="Videos: seconds to smooth probabilities over; 0 is off.")] = 0.5,
    timeline: Annotated[Path | None, typer.Option(help="A plot (PNG) of one video's emotions.")] = None,
) -> None:
    """Find the faces in pictures and print the emotion that each shows; exit 1 if something could not be read."""
    from motivnet_engines.output.sink import chosen_format
    from motivnet_engines.predict_run import RunOptions
    from motivnet_engines.predict_sources import annotated_targets, sources_from_arguments

    chosen = chosen_format(form.value if form else None, out)
    sources = sources_from_arguments(images or (), camera_number=camera)
    options = RunOptions(
        targets=annotated_targets(sources, annotate),
        montage=montage,
        timeline=timeline,
        every=every,
        realtime=realtime,
        smooth=smooth,
    )
    options.check(sources)
    with _opened(
        artifact, runtime=runtime, threads=threads, detector=detector, no_detect=no_detect, unknown=unknown,
        classes=classes,
    ) as classifier:  # fmt: skip
        errors = _run(classifier, sources, options=options, form=chosen, out=out)
    for error in errors:
        sys.stderr.write(f"error: {' '.join(error.split())}\n")
    if errors:
        raise typer.Exit(1)


def _opened(
    artifact: Path | None,
    *,
    runtime: str | None,
    threads: int | None,
    detector: Path | None,
    no_detect: bool,
    unknown: bool,
    classes: Path | None,
) -> EmotionClassifier:
    from motivnet.artifact import ARTIFACTS, newest_artifact
    from motivnet.errors import ConfigError
    from motivnet.progress import progress
    from motivnet_engines.classifier import EmotionClassifier
    from motivnet_engines.faces.detector import open_detector

    if no_detect and detector is not None:
        raise ConfigError("--no-detect needs no --detector; leave out one of them")
    folder = artifact or newest_artifact(ARTIFACTS)
    with progress("opening"):
        return EmotionClassifier.open(
            folder,
            runtime=runtime,
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
) -> list[str]:
    """Writes the results; what could not be done is returned."""
    from motivnet.progress import progress
    from motivnet_engines.output.sink import open_sink
    from motivnet_engines.predict_run import Listener, predict_sources

    errors: list[str] = []
    remarks: list[str] = []
    with open_sink(form, labels=classifier.labels, out=out) as write, contextlib.ExitStack() as stack:
        # Results that stream to a terminal are progress enough, and a bar among them is not.
        streamed = form != "table" and out is None and sys.stdout.isatty()
        advance = (lambda _: None) if streamed else stack.enter_context(progress("predicting", total=len(sources)))
        listener = Listener(record=write, finished=advance, remark=remarks.append, error=errors.append)
        predict_sources(classifier, sources, options=options, listener=listener)
    for remark in remarks:
        sys.stderr.write(f"{remark}\n")
    return errors
