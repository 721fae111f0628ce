"""The report of a latency result: its tables, what they mean, and the sentence it comes down to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from motivnet_bench.latency.result import CandidateResult, LatencyResult, Metrics
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
    duration,
    environment_section,
    notes_from_texts,
    rate,
    rows_from_texts,
)
from motivnet_bench.report.headline import candidate_label, latency_summary
from motivnet_bench.report.plots import TIMES, Shade, latency_plot, speedup_plot
from motivnet_engines.runtimes.selection import ParityStatus

FEW_CALLS = 100
SPEEDUP_TITLE = "Speed-up: median over the rounds, and range"

METHOD = (
    "Each candidate runs in its own process, paused while another one is measured. The rounds "
    "alternate, every second one backwards. A speed-up is the baseline's median over the "
    "candidate's within a round; its median over the rounds is given with the range. All "
    "candidates get the same inputs."
)

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
    speed, cost = _speed_columns(), _cost_columns(result)
    ratios = [_speedup_column(row.name) for row in result.measured_baselines]
    columns = (*speed, *ratios, *cost)
    brief = [column for column in columns if column.brief]
    notes = _notes(result)
    tables: tuple[Block, ...] = (
        _table(result, speed),
        *([_table(result, ratios, title=SPEEDUP_TITLE)] if ratios else ()),
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
        tiles=_tiles(result, columns),
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


def _speed_columns() -> tuple[_Column, ...]:
    return (
        _Column("p50", "median latency of a call", _of_latency("p50"), brief=True, tile=True),
        _Column("p90", "90th percentile", _of_latency("p90")),
        _Column("p95", "95th percentile", _of_latency("p95"), brief=True),
        _Column("p99", "99th percentile", _of_latency("p99")),
        _Column("mean", "mean latency", _of_latency("mean")),
        _Column("dev.", "sample standard deviation", _of_latency("deviation")),
        _Column(
            "images/s",
            "images per second",
            lambda m: rate(m.images_per_second),
            brief=True,
            tile=True,
        ),
    )


def _cost_columns(result: LatencyResult) -> tuple[_Column, ...]:
    compilation = _Column(
        "compilation",
        "the call that compiles the model, which no other column contains",
        lambda m: DASH if m.compilation is None else duration(m.compilation),
    )
    compiled = any(row.metrics and row.metrics.compilation for row in result.candidates)
    return (
        _Column("load", "import of the backend to open model", lambda m: duration(m.load)),
        *((compilation,) if compiled else ()),
        _Column("first call", "first inference", lambda m: duration(m.first_call)),
        _Column(
            "memory",
            "peak resident memory of the process",
            lambda m: byte_count(m.peak_memory),
            brief=True,
            tile=True,
        ),
        _Column(
            "\N{GREEK CAPITAL LETTER DELTA} probability",
            "largest difference from PyTorch FP32, on the inputs of the run",
            lambda m: DASH if m.probability_max_abs is None else f"{m.probability_max_abs:.1e}",
        ),
        _Column(
            "same label",
            "as PyTorch FP32, on the inputs of the run",
            lambda m: DASH if m.top1_agrees is None else "yes" if m.top1_agrees else "no",
        ),
        _Column("calls", "measured calls", lambda m: str(m.latency.calls)),
        _Column(
            "waited",
            "largest share of a round in which its threads waited for a core",
            lambda m: DASH if m.waiting is None else f"{m.waiting:.1%}",
        ),
        _Column(
            "rounds vary by",
            "coefficient of variation of the round medians",
            lambda m: f"{m.latency.variation:.1%}",
        ),
    )


def _of_latency(name: str) -> Callable[[Metrics], str]:
    return lambda metrics: duration(getattr(metrics.latency, name))


def _speedup_column(baseline: str) -> _Column:
    def cell(metrics: Metrics) -> str:
        ratio = metrics.speedups.get(baseline)
        if ratio is None:
            return DASH
        return f"{ratio.median:.2f} ({ratio.smallest:.2f}{DASH}{ratio.largest:.2f})"

    label = candidate_label(baseline)
    return _Column(
        f"{TIMES} {label.replace('PyTorch ', '')}",
        f"times as fast as {label}: median over rounds (smallest to largest)",
        cell,
        brief=True,
        tile=True,
    )


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
    compiled = [
        f"{row.name}: compiled in {duration(row.metrics.compilation)}, beside its latency"
        for row in result.candidates
        if row.metrics and row.metrics.compilation is not None
    ]
    warning = (
        f"Fewer than {FEW_CALLS} calls ({', '.join(few)}): p95 and p99 are close to the slowest "
        "call."
    )
    warnings = [warning, *result.warnings] if few else result.warnings
    return (
        *notes_from_texts(errors, "error"),
        *notes_from_texts((*compiled, *result.left_out), "plain"),
        *notes_from_texts(warnings, "warning"),
    )


def _plots(result: LatencyResult) -> tuple[Section, Section]:
    baseline = result.fastest_baseline
    over = candidate_label(baseline.name) if baseline else "PyTorch"
    latencies, speedups = [], []
    for row in result.candidates:
        if (metrics := row.metrics) is not None:
            named = candidate_label(row.name), _shade(row)
            latencies.append((*named, metrics.latency.quantiles))
            if baseline is not None and baseline.name in metrics.speedups:
                speedups.append((*named, metrics.speedups[baseline.name]))
    speedup = Plot(
        draw=partial(speedup_plot, speedups, baseline=over),
        description=f"Speed-up of each candidate over {over}; the table has the numbers.",
    )
    latency = Plot(
        draw=partial(latency_plot, latencies),
        description="Distribution of the latency of each candidate; the table has the numbers.",
    )
    return (
        Section(title=f"Speed-up over {over}", blocks=(speedup,), narrow=True),
        Section(title="Latency", blocks=(latency,), narrow=True),
    )


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
            f"{_rounds(result)} of {duration(settings.seconds)} per candidate, "
            f"{settings.warmup} warm-up calls",
        ),
        ("Threads", str(settings.threads)),
    )
    return List(details=details)


def _rounds(result: LatencyResult) -> str:
    rounds, complete = result.settings.rounds, result.interrupted_after
    return f"{rounds}" if complete is None else f"interrupted after {complete} of {rounds}"


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
