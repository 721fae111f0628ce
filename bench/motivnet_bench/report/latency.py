"""The report of a latency result: its tables, what they mean, and the sentence it comes down to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from motivnet_bench.latency.result import CandidateResult, LatencyResult, Metrics, Speedup
from motivnet_bench.report.document import (
    DASH,
    Block,
    Details,
    List,
    Note,
    Plot,
    Report,
    Row,
    Section,
    Table,
    byte_count,
    command_line_section,
    environment_section,
    notes_from_texts,
    rows_from_texts,
)
from motivnet_bench.report.plots import TIMES, Shade, latency_plot, speedup_plot
from motivnet_engines.runtimes.selection import ParityStatus

FEW_CALLS = 100

METHOD = (
    "Each candidate runs in its own process, paused while another one is measured. The rounds "
    "alternate, every second one backwards. A speed-up is the baseline's median over the "
    "candidate's within a round; its median over the rounds is given with the range. All "
    "candidates get the same inputs."
)

BASELINE_NAMES = {
    "pytorch-fp32": "PyTorch FP32",
    "pytorch-bf16": "PyTorch BF16",
    "pytorch-fp16": "PyTorch FP16",
}

PARITY_MARKS: dict[ParityStatus | None, tuple[str, ...]] = {
    "failed": ("failed parity",),
    "unverified": ("not verified",),
}


@dataclass(frozen=True, slots=True)
class _Column:
    """A heading, its meaning, and the text of a cell; ``brief`` columns are in the terminal too."""

    heading: str
    meaning: str
    cell: Callable[[Metrics], str]
    brief: bool = False
    tile: bool = False


def latency_report(result: LatencyResult) -> Report:
    """Return the report of a result."""
    speed, cost = _speed_columns(result), _cost_columns()
    brief = [column for column in (*speed, *cost) if column.brief]
    notes = _notes(result)
    tables: tuple[Block, ...] = (
        _table(result, speed),
        _table(result, cost, title="Cost and agreement"),
        *notes,
        Note(text=METHOD),
    )
    settings = result.settings
    title = (
        f"{result.target.name} ({result.target.precision}), batch size {settings.batch_size}, "
        f"{settings.threads} threads, {result.environment.processor}"
    )
    return Report(
        title=f"{result.target.name}: latency",
        summary=(latency_summary(result),),
        tiles=_tiles(result, (*speed, *cost)),
        sections=(
            *_plots(result),
            Section(title="Speed", blocks=tables),
            Section(title="Target", blocks=(_target_list(result),), narrow=True),
            environment_section(
                result.environment, pytorch_device=_baseline_device(result), created=result.created
            ),
            _parity_section(result),
            command_line_section(result.command_line or "motivnet-bench"),
        ),
        overview=(_table(result, brief, title=title, compact=True), *notes),
    )


def latency_summary(result: LatencyResult) -> str:
    """Return how fast the default runtime is beside PyTorch, and which runtime is faster."""
    row = result.default
    if row is None:
        return "There is no default runtime among the candidates; the table has the metrics."
    if row.metrics is None:
        return f"{row.name}, the default runtime, could not be measured: {row.error}."
    metrics = row.metrics
    pairs = (
        (metrics.speedup_over_fp32, "PyTorch FP32"),
        (metrics.speedup_over_half, _half_name(result)),
    )
    ratios = [f"{ratio.median:.1f}x {baseline}" for ratio, baseline in pairs if ratio is not None]
    batch_size = result.settings.batch_size
    unit = "image" if batch_size == 1 else f"batch of {batch_size}"
    per_call = f"{duration(metrics.latency.p50)} per {unit}"
    if ratios:
        speed = f"{row.name} is {' and '.join(ratios)}, {per_call}."
    else:
        speed = f"{row.name} takes {per_call}; PyTorch could not be measured."
    return f"{speed}{_faster(metrics, result)}{_caveat(row, result)}"


def _speed_columns(result: LatencyResult) -> tuple[_Column, ...]:
    return (
        _Column("p50", "median latency of a call", _of_latency("p50"), brief=True, tile=True),
        _Column("p90", "90th percentile", _of_latency("p90")),
        _Column("p95", "95th percentile", _of_latency("p95"), brief=True),
        _Column("p99", "99th percentile", _of_latency("p99"), brief=True),
        _Column("mean", "mean latency", _of_latency("mean")),
        _Column("dev.", "sample standard deviation", _of_latency("deviation")),
        _Column(
            "images/s",
            "images per second",
            lambda m: rate(m.images_per_second),
            brief=True,
            tile=True,
        ),
        _speedup_column("PyTorch FP32", lambda m: m.speedup_over_fp32),
        _speedup_column(_half_name(result), lambda m: m.speedup_over_half),
    )


def _cost_columns() -> tuple[_Column, ...]:
    return (
        _Column("load", "import of the backend to open model", lambda m: duration(m.load)),
        _Column("first call", "first inference", lambda m: duration(m.first_call)),
        _Column(
            "memory",
            "peak resident memory of the process",
            lambda m: byte_count(m.peak_memory),
            brief=True,
            tile=True,
        ),
        _Column(
            "probability difference",
            "largest from PyTorch FP32, on the inputs of the run",
            lambda m: DASH if m.probability_max_abs is None else f"{m.probability_max_abs:.1e}",
        ),
        _Column(
            "same label",
            "as PyTorch FP32, on the inputs of the run",
            lambda m: DASH if m.top1_agrees is None else "yes" if m.top1_agrees else "no",
        ),
        _Column("calls", "measured calls", lambda m: str(m.latency.calls)),
        _Column(
            "rounds vary by",
            "coefficient of variation of the round medians",
            lambda m: f"{m.latency.variation:.1%}",
        ),
    )


def _of_latency(name: str) -> Callable[[Metrics], str]:
    return lambda metrics: duration(getattr(metrics.latency, name))


def _speedup_column(baseline: str, of: Callable[[Metrics], Speedup | None]) -> _Column:
    def cell(metrics: Metrics) -> str:
        ratio = of(metrics)
        if ratio is None:
            return DASH
        return f"{ratio.median:.2f} ({ratio.smallest:.2f}{DASH}{ratio.largest:.2f})"

    return _Column(
        f"{TIMES} {baseline.removeprefix('PyTorch ')}",
        f"times as fast as {baseline}: median over rounds (smallest to largest)",
        cell,
        brief=True,
        tile=True,
    )


def _half_name(result: LatencyResult) -> str:
    row = next((row for row in result.candidates if row.role == "baseline-half"), None)
    return _label(row) if row else "PyTorch BF16"


def _table(
    result: LatencyResult, columns: Sequence[_Column], *, title: str = "", compact: bool = False
) -> Table:
    def cell(column: _Column, metrics: Metrics | None) -> str:
        text = DASH if metrics is None else column.cell(metrics)
        return text.partition(" (")[0] if compact else text  # without the range

    return Table(
        title=title,
        headings=("candidate", *(column.heading for column in columns)),
        meanings=("", *(column.meaning for column in columns)),
        rows=tuple(
            Row(
                cells=(row.name, *(cell(column, row.metrics) for column in columns)),
                marks=(*(["default"] if row.default else []), *PARITY_MARKS.get(row.parity, ())),
                kind="default" if row.default else "failed" if row.error else "plain",
            )
            for row in result.candidates
        ),
        compact=compact,
    )


def _tiles(result: LatencyResult, columns: Sequence[_Column]) -> Details:
    row = result.default
    if row is None or row.metrics is None:
        return ()
    return tuple((column.heading, column.cell(row.metrics)) for column in columns if column.tile)


def _notes(result: LatencyResult) -> tuple[Note, ...]:
    errors = [f"{row.name}: {row.error}" for row in result.candidates if row.error]
    few = [
        row.name
        for row in result.candidates
        if row.metrics and row.metrics.latency.calls < FEW_CALLS
    ]
    warning = (
        f"Fewer than {FEW_CALLS} calls ({', '.join(few)}): p95 and p99 are close to the slowest "
        "call."
    )
    warnings = [warning, *result.warnings] if few else result.warnings
    return (*notes_from_texts(errors, "error"), *notes_from_texts(warnings, "warning"))


def _faster(metrics: Metrics, result: LatencyResult) -> str:
    seconds, name = min(
        (row.metrics.latency.p50, row.name) for row in result.candidates if row.metrics
    )
    if seconds >= 0.95 * metrics.latency.p50:  # not clearly
        return ""
    return f" {name} was faster still: {duration(seconds)}."


def _caveat(default: CandidateResult, result: LatencyResult) -> str:
    compared = [row for row in result.candidates if row is default or row.role != "runtime"]
    unstable = [row.name for row in compared if row.metrics and row.metrics.latency.unstable]
    if not unstable:
        return ""
    return f" These numbers are rough: the rounds of {', '.join(unstable)} differ widely."


def _plots(result: LatencyResult) -> tuple[Section, Section]:
    latencies, speedups = [], []
    for row in result.candidates:
        if (metrics := row.metrics) is not None:
            latencies.append((_label(row), _shade(row), metrics.latency.quantiles))
            if metrics.speedup_over_fp32 is not None:
                speedups.append((_label(row), _shade(row), metrics.speedup_over_fp32))
    speedup = Plot(
        draw=partial(speedup_plot, speedups),
        description="Speed-up of each candidate over PyTorch FP32; the table has the numbers.",
    )
    latency = Plot(
        draw=partial(latency_plot, latencies),
        description="Distribution of the latency of each candidate; the table has the numbers.",
    )
    return (
        Section(title="Speed-up over PyTorch FP32", blocks=(speedup,), narrow=True),
        Section(title="Latency", blocks=(latency,), narrow=True),
    )


def _label(row: CandidateResult) -> str:
    return BASELINE_NAMES.get(row.name, row.name)


def _shade(row: CandidateResult) -> Shade:
    return "accent" if row.default else "normal" if row.role == "runtime" else "muted"


def _target_list(result: LatencyResult) -> List:
    target, settings = result.target, result.settings
    requested = ""
    if target.precision != target.requested_precision:
        requested = f" ({target.requested_precision} was requested)"
    height, width = target.image_size
    details = (
        ("Artifact", target.name),
        ("Weights", "random" if target.weights == "random" else f"from {target.weights}"),
        ("Precision", f"{target.precision}{requested}, {target.attention} attention"),
        (
            "Input",
            f"{height}x{width} {target.input_dtype}, preprocessing {target.preprocessing}, "
            f"{settings.image}",
        ),
        ("Batch size", str(settings.batch_size)),
        (
            "Rounds",
            f"{settings.rounds} of {duration(settings.seconds)} per candidate, "
            f"{settings.warmup} warm-up calls",
        ),
        ("Threads", str(settings.threads)),
    )
    return List(details=details)


def _baseline_device(result: LatencyResult) -> str:
    devices = dict.fromkeys(
        "the processor" if row.device == "cpu" else row.device
        for row in result.candidates
        if row.role != "runtime" and row.device
    )
    return ", ".join(devices) or "no device"


def _parity_section(result: LatencyResult) -> Section:
    parity = result.parity
    state = "passed" if parity.passed else "did not pass"
    sentence = (
        f"The artifact {state} the parity check of its build over {parity.images} images "
        f"({parity.image_source})."
    )
    if parity.activations:
        largest = max(block.stream for block in parity.activations)
        sentence += f" The largest activation on the residual stream was {largest:.3g}."
    table = Table(
        headings=(
            *("backend", "computes in", "shows", "images", "logit cosine", "Δ logit"),
            *("Δ probability", "top-1", "embedding cosine", "parity"),
        ),
        rows=rows_from_texts(
            (
                each.backend,
                each.compute,
                each.evidence,
                str(each.images),
                f"{each.logit_cosine:.6f}",
                f"{each.logit_max_abs:.1e}",
                f"{each.probability_max_abs:.1e}",
                f"{each.top1_agreement:.1%}",
                f"{each.embedding_cosine:.6f}",
                "passed" if each.passed else "; ".join(each.failures),
            )
            for each in parity.comparisons
        ),
    )
    return Section(
        title="Parity with PyTorch FP32",
        state="passed" if parity.passed else "failed",
        blocks=(Note(text=sentence), table, *notes_from_texts(parity.warnings, "warning")),
    )


def duration(seconds: float) -> str:
    """Return seconds with three significant digits, as µs, ms or s."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= 0.9995 * size:
            return f"{significant(seconds / size)} {unit}"
    return f"{significant(seconds / 1e-6)} µs"


def significant(value: float) -> str:
    """Return three significant digits without an exponent; of a value below 1, two decimals."""
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f}"


def rate(value: float) -> str:
    """Return images per second with three significant digits, three decimals below one."""
    return significant(value) if value >= 1 else f"{value:.3f}"
