"""The ``motivnet-bench`` command: latency (the default), accuracy, viability, and others."""

from __future__ import annotations

import contextlib
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from motivnet.command_line import INTERRUPTED, JSONOption, make_app, print_json, run, say, warn
from motivnet.config import image_size_from_text
from motivnet.errors import ConfigError
from motivnet.path_kind import check_exist, is_file, is_folder, kind_of
from motivnet_bench.latency.baselines import BASELINES, check_baselines, row_name
from motivnet_bench.optimise_command import optimise
from motivnet_engines.cli.options import PATH, TrustEnginesOption

if TYPE_CHECKING:
    from motivnet.schema import Schema
    from motivnet_bench.latency.measure import Options
    from motivnet_bench.latency.result import LatencyResult
    from motivnet_bench.report.document import Report
    from motivnet_bench.target import Target

Precision: TypeAlias = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]


def _argument(help_text: str, default: str | bool = False) -> Any:
    return typer.Argument(help=help_text, show_default=default)


def _option(help_text: str, default: str | bool = False) -> Any:
    """Return an option that may be left out; ``default`` says what is used then."""
    return typer.Option(help=help_text, show_default=default)


def _path_option(help_text: str, default: str | bool = False) -> Any:
    return typer.Option(help=help_text, show_default=default, **PATH)


CheckpointOption: TypeAlias = Annotated[
    Path | None,
    _path_option("The artifact's checkpoint.", "the file of its name in checkpoints/ or here"),
]
ThreadsOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="Threads per candidate.",
        show_default="the physical cores available",
    ),
]
BatchSizeOption: TypeAlias = Annotated[int, typer.Option(min=1, help="Images per call.")]
RoundsOption: TypeAlias = Annotated[int, typer.Option(min=1, help="Rounds per candidate.")]
SecondsOption: TypeAlias = Annotated[
    float, typer.Option(help="Seconds per round; a call longer than this runs once.")
]
DeviceOption: TypeAlias = Annotated[Device, typer.Option(help="Where PyTorch runs.")]
LimitOption: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Images per class at most.", show_default=False)
]
AllowOutsideOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--allow-outside", help="Also read images that a dataset's list names outside its folder."
    ),
]

DISTURBED = (
    "rotation",
    "crop",
    "blur",
    "JPEG quality",
    "less light",
    "more light",
    "resolution",
    "occlusion",
)
"""The names in ``DISTURBANCES``, whose module imports OpenCV."""

app = make_app(
    "Measure how fast and how accurate an artifact is, beside the PyTorch model that it was made "
    "from. Without a command, 'motivnet-bench' measures the latency of the newest artifact.",
    default="latency",
)


@app.command(short_help="Measure every runtime beside PyTorch")
def latency(
    artifact: Annotated[
        Path | None, _argument("The artifact's folder.", "the newest in artifacts/")
    ] = None,
    *,
    model: Annotated[
        str | None, _option("Measure random weights of a named size or CONFIG.json instead.")
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Precision of --model.")] = "fp16",
    image_size: Annotated[
        str | None,
        typer.Option(metavar="HEIGHTxWIDTH", help="Input size of --model.", show_default=False),
    ] = None,
    checkpoint: CheckpointOption = None,
    runtime: Annotated[
        list[str] | None, _option("Measure only this runtime; repeatable.", "all")
    ] = None,
    baseline: Annotated[
        list[str] | None,
        _option(
            f"Measure only this PyTorch baseline, even if it is slow; repeatable. One of "
            f"{', '.join(BASELINES)}; compile is torch.compile.",
            "fp32, and 16 bits where the device computes in them; on a GPU also compiled",
        ),
    ] = None,
    trust_engines: TrustEnginesOption = False,
    batch_size: BatchSizeOption = 1,
    rounds: RoundsOption = 5,
    seconds: SecondsOption = 0.5,
    warmup: Annotated[int, typer.Option(min=0, help="Untimed calls after the first.")] = 1,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    image: Annotated[Path | None, _path_option("The input image.", "a drawn face")] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds that a candidate may take to open or for a round.")
    ] = 1800.0,
    out: Annotated[
        Path | None,
        _path_option("Folder of the report.", "the artifact's, or artifacts/bench-MODEL"),
    ] = None,
    json: JSONOption = False,
) -> None:
    """Measure every runtime beside PyTorch; write report.html, report.md and report.json.

    Ctrl-C and SIGTERM end the run with a report of the rounds that were measured, which is called
    report-interrupted and replaces no other, and status 130.
    """
    from motivnet.artifact import ARTIFACTS
    from motivnet_bench.environment import command_line
    from motivnet_bench.latency.candidates import resolve_device
    from motivnet_bench.latency.measure import Options
    from motivnet_bench.latency.result import LatencyResult
    from motivnet_bench.report.files import check_folder, write_latency
    from motivnet_bench.report.latency import latency_report
    from motivnet_bench.target import model_name, target_from_model

    options = Options(
        batch_size=batch_size,
        rounds=rounds,
        seconds=seconds,
        warmup=warmup,
        threads=threads,
        device=device,
        runtimes=tuple(runtime or ()),
        baselines=tuple(baseline or ()),
        trust_engines=trust_engines,
        timeout=timeout,
        image=image,
    )
    if model is not None and (artifact or checkpoint):
        raise ConfigError(
            "--model measures random weights: leave out the artifact and --checkpoint"
        )
    if model is None and image_size is not None:
        raise ConfigError("--image-size is for --model; build an artifact of that size instead")
    size = image_size_from_text(image_size) if image_size else None
    words: list[str | Path]
    if model is None:
        folder = artifact or _newest()
        kind_of(folder)  # one that may not be read is no matter of --out
        words = [folder, *(("--checkpoint", checkpoint) if checkpoint else ())]
    else:
        resolve_device(device)  # before minutes of building
        folder = ARTIFACTS / f"bench-{model_name(model)}"
        words = ["--model", model, "--precision", precision]
        words += ["--image-size", image_size] if image_size else []
    check_folder(out or folder, LatencyResult)
    with contextlib.ExitStack() as stack:
        if model is None:
            target = _target(folder, checkpoint)
        else:
            temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="motivnet-bench-"))
            target = target_from_model(
                model,
                Path(temporary),
                precision=precision,
                image_size=size,
                batch_size=batch_size,
            )
        result = _measure(target, options, command_line("latency", words, options))
    _show(result, latency_report(result), json=json)
    paths = write_latency(result, out or folder)
    if not json:
        say(f"report: {paths[-1]}")
    if result.interrupted_after is not None:
        raise typer.Exit(INTERRUPTED)
    result.require_runtime()


@app.command(short_help="Measure accuracy on labelled images")
def accuracy(
    artifact: Annotated[Path, _argument("The artifact's folder.")],
    dataset: Annotated[
        Path, _argument("A dataset; its test split is used, or its validation split, or all of it.")
    ],
    *,
    runtime: Annotated[
        list[str] | None,
        _option("A runtime, or pytorch; repeatable.", "the default runtime"),
    ] = None,
    trust_engines: TrustEnginesOption = False,
    checkpoint: CheckpointOption = None,
    limit: LimitOption = None,
    threads: ThreadsOption = None,
    allow_outside: AllowOutsideOption = False,
    json: JSONOption = False,
) -> None:
    """Measure the metrics of the paper on labelled images; list what runtimes disagree on."""
    check_exist(artifact, dataset)

    from motivnet_bench.accuracy import PYTORCH, measure_accuracy
    from motivnet_bench.report.accuracy import accuracy_report

    runtimes = tuple(runtime or ())
    result = measure_accuracy(
        _target(artifact, checkpoint, needs_pytorch=PYTORCH in runtimes),
        dataset,
        runtimes=runtimes,
        trust_engines=trust_engines,
        limit=limit,
        threads=threads,
        allow_outside=allow_outside,
    )
    _show(result, accuracy_report(result), json=json)


@app.command(short_help="Measure accuracy by group of people")
def groups(
    artifact: Annotated[Path, _argument("The artifact's folder.")],
    dataset: Annotated[
        Path, _argument("A dataset; its test split is used, or its validation split, or all of it.")
    ],
    *,
    by: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="A column of --table or of the dataset's own list; gender, race or age of RAF-DB; "
            "or folder, where each folder is a dataset of one group.",
            show_default=False,
        ),
    ],
    table: Annotated[
        Path | None,
        _path_option("A CSV file with a column file, which names the images, and COLUMN."),
    ] = None,
    max_gap: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            help="Exit with status 1 if the worst gap has more percentage points.",
            show_default=False,
        ),
    ] = None,
    runtime: Annotated[
        str | None, _option("The runtime that answers.", "the default runtime")
    ] = None,
    trust_engines: TrustEnginesOption = False,
    checkpoint: CheckpointOption = None,
    limit: LimitOption = None,
    threads: ThreadsOption = None,
    allow_outside: AllowOutsideOption = False,
    out: Annotated[
        Path | None, _path_option("Folder of the report.", "artifacts/groups-NAME-COLUMN")
    ] = None,
    json: JSONOption = False,
) -> None:
    """Measure how often an artifact is right for each group of people; write groups.html and .json.

    The two groups that are farthest apart are compared: the gap with its interval, and a test
    whether chance makes such gaps.
    """
    check_exist(artifact, dataset, *((table,) if table else ()))

    from motivnet.artifact import ARTIFACTS
    from motivnet_bench.environment import command_line
    from motivnet_bench.groups.measure import GroupsOptions, GroupsResult, measure_groups
    from motivnet_bench.report.files import check_folder, write_groups
    from motivnet_bench.report.groups import groups_report

    options = GroupsOptions(
        by=by,
        table=table,
        max_gap=max_gap,
        runtime=runtime,
        trust_engines=trust_engines,
        threads=threads,
        limit=limit,
        allow_outside=allow_outside,
    )
    target = _target(artifact, checkpoint, needs_pytorch=False)
    out = out or ARTIFACTS / f"groups-{target.name}-{by}"
    check_folder(out, GroupsResult)
    result = measure_groups(
        target,
        dataset,
        options,
        command_line=command_line("groups", [artifact, dataset], options),
        on_message=warn,
    )
    _show(result, groups_report(result), json=json)
    paths = write_groups(result, out)
    if not json:
        say(f"report: {paths[-1]}")
    result.require()


@app.command(short_help="Measure accuracy on disturbed images")
def robustness(
    artifact: Annotated[Path, _argument("The artifact's folder.")],
    dataset: Annotated[
        Path, _argument("A dataset; its test split is used, or its validation split, or all of it.")
    ],
    *,
    disturbance: Annotated[
        list[str] | None,
        _option(f"Measure only this one; repeatable. One of {', '.join(DISTURBED)}.", "all"),
    ] = None,
    runtime: Annotated[
        str | None, _option("The runtime that answers.", "the default runtime")
    ] = None,
    trust_engines: TrustEnginesOption = False,
    checkpoint: CheckpointOption = None,
    limit: LimitOption = None,
    threads: ThreadsOption = None,
    allow_outside: AllowOutsideOption = False,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Seed of what varies between images.")
    ] = 0,
    out: Annotated[
        Path | None, _path_option("Folder of the report.", "artifacts/robustness-NAME")
    ] = None,
    json: JSONOption = False,
) -> None:
    """Measure accuracy against rotation, crop, blur, compression, light, resolution and occlusion.

    Writes robustness.html and robustness.json.
    """
    check_exist(artifact, dataset)
    if unknown := [name for name in disturbance or () if name not in DISTURBED]:
        raise ConfigError(f"there is no disturbance {unknown[0]}; give {', '.join(DISTURBED)}")

    from motivnet.artifact import ARTIFACTS
    from motivnet_bench.environment import command_line
    from motivnet_bench.report.files import check_folder, write_robustness
    from motivnet_bench.report.robustness import robustness_report
    from motivnet_bench.robustness.measure import (
        RobustnessOptions,
        RobustnessResult,
        measure_robustness,
    )

    options = RobustnessOptions(
        disturbance=tuple(disturbance or ()),
        limit=limit,
        seed=seed,
        runtime=runtime,
        trust_engines=trust_engines,
        threads=threads,
        allow_outside=allow_outside,
    )
    target = _target(artifact, checkpoint, needs_pytorch=False)
    out = out or ARTIFACTS / f"robustness-{target.name}"
    check_folder(out, RobustnessResult)
    result = measure_robustness(
        target,
        dataset,
        options,
        command_line=command_line("robustness", [artifact, dataset], options),
    )
    _show(result, robustness_report(result), json=json)
    paths = write_robustness(result, out)
    if not json:
        say(f"report: {paths[-1]}")


@app.command(short_help="Write a model card from what was measured")
def card(
    artifact: Annotated[Path, _argument("The artifact's folder.")],
    *,
    report: Annotated[
        list[Path] | None,
        _path_option(
            "A JSON file of motivnet-bench latency, accuracy, groups or robustness, besides those "
            "in the artifact; repeatable."
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        _path_option("The artifact's checkpoint, which says what it was trained on."),
    ] = None,
    out: Annotated[
        Path | None, _path_option("Folder of README.md and card.html.", "the artifact's")
    ] = None,
) -> None:
    """Write a model card, for people and for the Hugging Face Hub: README.md and card.html.

    Every figure names the file that it is from, and what was not measured says so.
    """
    check_exist(artifact, *(report or ()), *((checkpoint,) if checkpoint else ()))

    from motivnet_bench.card import read_card
    from motivnet_bench.report.files import write_card

    found = read_card(artifact, reports=report or (), checkpoint=checkpoint)
    for path in write_card(found, out or artifact):
        say(f"card: {path}")


@app.command(short_help="Measure the paper's criteria")
def viability(
    checkpoint: Annotated[Path, _argument("The MotivNet's weights file.")],
    *,
    ema: Annotated[
        bool, typer.Option("--ema", help="Take the file's EMA weights, not those beside them.")
    ] = False,
    test: Annotated[list[Path] | None, _path_option("A labelled dataset; repeatable.")] = None,
    encoder: Annotated[
        Path | None, _path_option("Weights file that the training started from.")
    ] = None,
    data: Annotated[
        Path | None, _path_option("A folder of images to compare with --reference.")
    ] = None,
    reference: Annotated[
        Path | None, _path_option("The folder of images that --data is compared with.")
    ] = None,
    model: Annotated[
        str | None, _option("Named size or CONFIG.json.", "the sizes that the checkpoint tells")
    ] = None,
    preprocess: Annotated[
        str | None, _option("stretch or square-white-pad.", "the checkpoint's, or stretch")
    ] = None,
    limit: Annotated[
        int | None,
        _option("Images at most: per class of --test, and in all of --data and --reference."),
    ] = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap samples for the intervals.")] = 500,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the bootstrap.")] = 0,
    batch_size: BatchSizeOption = 8,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    allow_outside: AllowOutsideOption = False,
    out: Annotated[
        Path | None, _path_option("Folder of the report.", "artifacts/viability-NAME")
    ] = None,
    json: JSONOption = False,
) -> None:
    """Measure the paper's criteria of a viable task; write viability.html and viability.json.

    Benchmark performance with --test, model similarity with --encoder, data similarity with --data
    and --reference.
    """
    check_exist(checkpoint)

    from motivnet.artifact import ARTIFACTS
    from motivnet.checkpoints import name_of
    from motivnet_bench.environment import command_line
    from motivnet_bench.report.files import check_folder, write_viability
    from motivnet_bench.report.viability import viability_report
    from motivnet_bench.viability.measure import ViabilityOptions, measure_viability
    from motivnet_bench.viability.result import ViabilityResult
    from motivnet_export.source import model_source

    options = ViabilityOptions(
        tests=tuple(test or ()),
        encoder=encoder,
        data=data,
        reference=reference,
        limit=limit,
        resamples=resamples,
        seed=seed,
        batch_size=batch_size,
        threads=threads,
        device=device,
        allow_outside=allow_outside,
    )
    out = out or ARTIFACTS / f"viability-{name_of(checkpoint)}"
    check_folder(out, ViabilityResult)
    words: list[str | Path] = [checkpoint]
    words += ["--ema"] if ema else []
    words += ["--model", model] if model else []
    words += ["--preprocess", preprocess] if preprocess else []
    result = measure_viability(
        model_source(checkpoint, model=model, preprocess=preprocess, ema=ema),
        options,
        command_line=command_line("viability", words, options),
    )
    _show(result, viability_report(result), json=json)
    paths = write_viability(result, out)
    if not json:
        say(f"report: {paths[-1]}")


app.command(short_help="Find and build the cheapest model that is enough")(optimise)


@app.command(short_help="Render a report.json again")
def report(
    result: Annotated[Path, _argument("A report.json, or the folder that it is in.")],
    out: Annotated[Path | None, _path_option("Folder to write to.", "the file's own")] = None,
    json: JSONOption = False,
) -> None:
    """Write the Markdown and HTML report of a report.json again."""
    from motivnet_bench.latency.result import read_result
    from motivnet_bench.report.files import write_latency

    file = result / "report.json" if is_folder(result) else result
    paths = write_latency(read_result(file), out or file.parent)
    if json:
        print_json({"files": [str(path) for path in paths]})
    else:
        say(f"report: {paths[-1]}")


@app.command(short_help="Exit with 1 if a bound is not reached")
def gate(
    target: Annotated[
        Path | None, _argument("An artifact, or a report.json of one.", "the newest artifact")
    ] = None,
    *,
    min_speedup: Annotated[
        float | None, _option("Times as fast as --baseline at least, in every round.")
    ] = None,
    max_drop: Annotated[
        float | None,
        _option("Percentage points of accuracy lost against PyTorch FP32 on --dataset at most."),
    ] = None,
    dataset: Annotated[Path | None, _path_option("A labelled dataset.")] = None,
    runtime: Annotated[str | None, _option("The runtime to check.", "the default runtime")] = None,
    baseline: Annotated[
        str, typer.Option(help="The PyTorch baseline of --min-speedup, as in latency.")
    ] = "fp32",
    trust_engines: TrustEnginesOption = False,
    checkpoint: CheckpointOption = None,
    batch_size: BatchSizeOption = 1,
    rounds: RoundsOption = 5,
    seconds: SecondsOption = 0.5,
    threads: ThreadsOption = None,
    limit: LimitOption = None,
    allow_outside: AllowOutsideOption = False,
    json: JSONOption = False,
) -> None:
    """Exit with status 1 if a metric does not reach its bound.

    A speed-up that was measured under load passes, with a warning, only if it is beyond doubt.
    """
    from motivnet.artifact import open_artifact
    from motivnet_bench.accuracy import PYTORCH, measure_accuracy
    from motivnet_bench.gate import GateResult, check_bounds, check_drop, check_speedup
    from motivnet_bench.latency.measure import Options
    from motivnet_engines.runtimes.selection import default_runtime

    check_bounds(min_speedup=min_speedup, max_drop=max_drop, runtime=runtime)
    check_baselines([baseline])
    if (max_drop is None) != (dataset is None):
        raise ConfigError("--max-drop and --dataset go together")
    path = target or _newest()
    if max_drop is not None and is_file(path):
        raise ConfigError("--max-drop runs the artifact: give its folder, not a report")
    checks = []
    if min_speedup is not None:
        options = Options(
            batch_size=batch_size,
            rounds=rounds,
            seconds=seconds,
            threads=threads,
            runtimes=(runtime,) if runtime else (),
            baselines=(baseline,),
            trust_engines=trust_engines,
        )
        measured = _result_for_gate(path, checkpoint, options)
        checks.append(
            check_speedup(measured, min_speedup, runtime=runtime, baseline=row_name(baseline))
        )
    if max_drop is not None and dataset is not None:
        checked = runtime or default_runtime(open_artifact(path), trust_engines=trust_engines)
        accuracies = measure_accuracy(
            _target(path, checkpoint),
            dataset,
            runtimes=(PYTORCH, checked),
            limit=limit,
            threads=threads,
            allow_outside=allow_outside,
        )
        checks.append(check_drop(accuracies, max_drop))
    result = GateResult(passed=all(check.passed for check in checks), checks=tuple(checks))
    if json:
        print_json(result)
    else:
        for check in checks:
            say(f"{'passed' if check.passed else 'failed'}: {check.text}")
    for text in (text for check in checks for text in check.warnings):
        warn(text)
    result.require()


def main() -> None:
    """Run the command; SIGTERM ends it as Ctrl-C does, so that no file or process is left."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run(app)


def _newest() -> Path:
    from motivnet.artifact import ARTIFACTS, newest_artifact

    return newest_artifact(ARTIFACTS)


def _result_for_gate(path: Path, checkpoint: Path | None, options: Options) -> LatencyResult:
    """Return the result in a report, or measure an artifact to the end."""
    from motivnet_bench.latency.result import read_result

    if is_file(path):
        return read_result(path)
    result = _measure(_target(path, checkpoint), options)
    if result.interrupted_after is not None:
        raise KeyboardInterrupt
    return result


def _measure(target: Target, options: Options, command_line: str = "") -> LatencyResult:
    from motivnet_bench.latency.measure import measure_latency

    try:
        return measure_latency(target, options, command_line=command_line)
    except KeyboardInterrupt:
        say("interrupted before the first round: nothing was measured", err=True)
        raise


def _target(folder: Path, checkpoint: Path | None, *, needs_pytorch: bool = True) -> Target:
    from motivnet.terminal import progress
    from motivnet_bench.target import target_from_artifact

    with progress(f"reading {folder}"):
        return target_from_artifact(folder, checkpoint=checkpoint, needs_pytorch=needs_pytorch)


def _show(result: Schema, report: Report, *, json: bool) -> None:
    from motivnet.terminal import show
    from motivnet_bench.report.terminal import terminal_from_report

    if json:
        print_json(result)
    else:
        show(terminal_from_report(report))
