"""The ``motivnet-bench`` command: latency (the default), accuracy, criteria, report, gate."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet.command_line import JSONOption, make_app, print_json, run, say
from motivnet.errors import ConfigError
from motivnet_bench.cli_criteria import criteria
from motivnet_bench.cli_options import (
    ArtifactArgument,
    BatchOption,
    CheckpointOption,
    DeviceOption,
    DurationOption,
    ImageOption,
    LimitOption,
    OutsideOption,
    RoundsOption,
    RuntimeOption,
    ThreadsOption,
    TimeoutOption,
    WarmupOption,
)
from motivnet_engines.cli.options import TrustEnginesOption

if TYPE_CHECKING:
    from motivnet_bench.accuracy_result import AccuracyResult
    from motivnet_bench.latency.measure import Options
    from motivnet_bench.latency.result import LatencyResult
    from motivnet_bench.latency.target import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """How the images of a data set are read, and by what."""

    limit: int | None
    threads: int | None
    allow_outside: bool
    trust_engines: bool


app = make_app(
    "How fast an artifact is, and how right, beside the PyTorch model that it was made from. "
    "Without a command it measures latency: 'motivnet-bench' alone benches the newest artifact.",
    default="latency",
)


@app.command()
def latency(
    artifact: ArtifactArgument = None,
    *,
    model: Annotated[
        str | None,
        typer.Option(
            help="Random weights of a named size or CONFIG.json, in place of an artifact.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Of the artifact built for --model: fp32, fp16 or bf16.")
    ] = "fp16",
    checkpoint: CheckpointOption = None,
    runtime: RuntimeOption = None,
    trust_engines: TrustEnginesOption = False,
    batch: BatchOption = 1,
    rounds: RoundsOption = 5,
    duration: DurationOption = 0.5,
    warmup: WarmupOption = 1,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    image: ImageOption = None,
    timeout: TimeoutOption = 1800.0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the report; the artifact's, or artifacts/bench-NAME, if left out.",
            show_default=False,
        ),
    ] = None,
    json: JSONOption = False,
) -> None:
    """Measures every runtime beside PyTorch; leaves report.html, report.md and report.json."""
    from motivnet.artifact import ARTIFACTS
    from motivnet.terminal import show
    from motivnet_bench.latency.measure import Options, measure_latency
    from motivnet_bench.repeat import repeat_command
    from motivnet_bench.report.terminal import latency_table
    from motivnet_bench.report.write import check_folder, write_report

    options = Options(
        batch=batch,
        rounds=rounds,
        duration=duration,
        warmup=warmup,
        threads=threads,
        device=device,
        runtimes=tuple(runtime or ()),
        trust_engines=trust_engines,
        timeout=timeout,
        image=image,
    )
    with _subject(artifact, model, precision, checkpoint, options) as (subject, target):
        folder = out or (ARTIFACTS / f"bench-{subject.name}" if model else subject.artifact.folder)
        check_folder(folder)
        result = measure_latency(
            subject, options, command=repeat_command("latency", target, options)
        )
    if json:
        print_json(result)
    else:
        show(latency_table(result))
    paths = write_report(result, folder)
    if not json:
        say(f"report: {paths[-1]}")


@app.command()
def accuracy(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.", show_default=False)],
    dataset: Annotated[
        Path,
        typer.Argument(
            help="A dataset; of one with parts the test part, else the validation part.",
            show_default=False,
        ),
    ],
    *,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            "--runtime",
            help="A runtime, or pytorch; may be repeated. The default runtime if left out.",
            show_default=False,
        ),
    ] = None,
    trust_engines: TrustEnginesOption = False,
    checkpoint: CheckpointOption = None,
    limit: LimitOption = None,
    threads: ThreadsOption = None,
    allow_outside: OutsideOption = False,
    json: JSONOption = False,
) -> None:
    """Measures the figures of the paper on labelled images, and lists what runtimes disagree about."""
    from motivnet.terminal import show
    from motivnet_bench.report.accuracy_terminal import accuracy_table

    reading = _Reading(
        limit=limit, threads=threads, allow_outside=allow_outside, trust_engines=trust_engines
    )
    result = _accuracy(
        artifact, dataset, runtimes=runtime or (), checkpoint=checkpoint, reading=reading
    )
    if json:
        print_json(result)
    else:
        show(accuracy_table(result))


app.command()(criteria)


@app.command()
def report(
    result: Annotated[
        Path, typer.Argument(help="A report.json, or the folder that it is in.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; the file's own if left out.")
    ] = None,
    json: JSONOption = False,
) -> None:
    """Makes the Markdown and HTML report again from its JSON."""
    from motivnet_bench.latency.result import read_result
    from motivnet_bench.report.write import write_report

    file = result / "report.json" if result.is_dir() else result
    paths = write_report(read_result(file), out or file.parent)
    if json:
        print_json({"files": [str(path) for path in paths]})
    else:
        say(f"report: {paths[-1]}")


@app.command()
def gate(
    target: Annotated[
        Path | None,
        typer.Argument(
            help="An artifact, or a report.json of one; the newest artifact if left out.",
            show_default=False,
        ),
    ] = None,
    *,
    min_speedup: Annotated[
        float | None,
        typer.Option(help="Times as fast as PyTorch FP32 at least.", show_default=False),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Points of accuracy lost against PyTorch FP32 on --dataset at most.",
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="A folder of class folders.", show_default=False)
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            help="The runtime to judge; the default runtime if left out.", show_default=False
        ),
    ] = None,
    trust_engines: TrustEnginesOption = False,
    checkpoint: CheckpointOption = None,
    batch: BatchOption = 1,
    rounds: RoundsOption = 5,
    duration: DurationOption = 0.5,
    threads: ThreadsOption = None,
    limit: LimitOption = None,
    allow_outside: OutsideOption = False,
    json: JSONOption = False,
) -> None:
    """Exits with status 1 when a figure is not reached."""
    from motivnet_bench.gate import check_bounds, check_drop, check_speedup, gate_result, require
    from motivnet_bench.latency.measure import Options

    check_bounds(min_speedup=min_speedup, max_drop=max_drop)
    if (max_drop is None) != (dataset is None):
        raise ConfigError("--max-drop and --dataset go together")
    found = target or _newest()
    reading = _Reading(
        limit=limit, threads=threads, allow_outside=allow_outside, trust_engines=trust_engines
    )
    checks = []
    if min_speedup is not None:
        options = Options(
            batch=batch,
            rounds=rounds,
            duration=duration,
            threads=threads,
            runtimes=(runtime,) if runtime else (),
            trust_engines=trust_engines,
        )
        checks.append(
            check_speedup(_latency_of(found, checkpoint, options), min_speedup, runtime=runtime)
        )
    if max_drop is not None and dataset is not None:
        checks.append(
            check_drop(
                _accuracy_beside_pytorch(
                    found, dataset, runtime=runtime, checkpoint=checkpoint, reading=reading
                ),
                max_drop,
            )
        )
    result = gate_result(checks)
    if json:
        print_json(result)
    else:
        for check in checks:
            say(f"{'reached' if check.reached else 'not reached'}: {check.text}")
    require(result)


def main() -> None:
    """Runs the command."""
    run(app)


def _newest() -> Path:
    from motivnet.artifact import ARTIFACTS, newest_artifact

    return newest_artifact(ARTIFACTS)


@contextlib.contextmanager
def _subject(
    artifact: Path | None,
    model: str | None,
    precision: str,
    checkpoint: Path | None,
    options: Options,
) -> Iterator[tuple[Subject, tuple[str | Path, ...]]]:
    """What is measured, and the words that name it; an artifact of ``--model`` lasts as long as the block."""
    from motivnet.artifact.manifest import PRECISIONS
    from motivnet_bench.latency.target import subject_from_artifact, subject_from_model

    if model is None:
        folder = artifact or _newest()
        named = (folder,) if checkpoint is None else (folder, "--checkpoint", checkpoint)
        yield subject_from_artifact(folder, checkpoint=checkpoint), named
        return
    if artifact is not None or checkpoint is not None:
        raise ConfigError(
            "--model measures random weights: leave out the artifact and --checkpoint"
        )
    known = next((each for each in PRECISIONS if each == precision), None)
    if known is None:
        raise ConfigError(
            f"no precision is called {precision!r}; choose from {', '.join(PRECISIONS)}"
        )
    with tempfile.TemporaryDirectory(prefix="motivnet-bench-") as temporary:
        subject = subject_from_model(model, Path(temporary), precision=known, batch=options.batch)
        yield subject, ("--model", model, "--precision", known)


def _latency_of(target: Path, checkpoint: Path | None, options: Options) -> LatencyResult:
    from motivnet_bench.latency.measure import measure_latency
    from motivnet_bench.latency.result import read_result
    from motivnet_bench.latency.target import subject_from_artifact

    if target.is_file():
        return read_result(target)
    return measure_latency(subject_from_artifact(target, checkpoint=checkpoint), options)


def _accuracy(
    artifact: Path,
    dataset: Path,
    *,
    runtimes: Sequence[str],
    checkpoint: Path | None,
    reading: _Reading,
) -> AccuracyResult:
    from motivnet_bench.accuracy import measure_accuracy
    from motivnet_bench.accuracy_result import PYTORCH
    from motivnet_bench.latency.target import subject_from_artifact

    subject = subject_from_artifact(
        artifact, checkpoint=checkpoint, needs_pytorch=PYTORCH in runtimes
    )
    return measure_accuracy(
        subject,
        dataset,
        runtimes=runtimes,
        trust_engines=reading.trust_engines,
        limit=reading.limit,
        threads=reading.threads,
        allow_outside=reading.allow_outside,
    )


def _accuracy_beside_pytorch(
    artifact: Path,
    dataset: Path,
    *,
    runtime: str | None,
    checkpoint: Path | None,
    reading: _Reading,
) -> AccuracyResult:
    from motivnet.artifact import open_artifact
    from motivnet_bench.accuracy_result import PYTORCH
    from motivnet_engines.runtimes.registry import default_runtime

    if artifact.is_file():
        raise ConfigError("--max-drop runs the artifact: give its folder, not a report")
    judged = runtime or default_runtime(
        open_artifact(artifact), trust_engines=reading.trust_engines
    )
    return _accuracy(
        artifact, dataset, runtimes=(PYTORCH, judged), checkpoint=checkpoint, reading=reading
    )
