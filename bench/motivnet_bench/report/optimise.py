"""The report of an optimisation: the pick in a sentence, the curve, and every point in a table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from motivnet_bench.optimise.choice import front, is_within
from motivnet_bench.optimise.result import Measured, OptimiseResult
from motivnet_bench.optimise.sentences import change_text, describe_point, describe_times, doubts
from motivnet_bench.report.cost_plot import CostPoint, cost_plot
from motivnet_bench.report.document import (
    DARK,
    DASH,
    NARROW,
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
    rows_from_texts,
)

HEADINGS = ("point", "GFLOP", "fewer FLOP", "ms", "times faster", "points against the full model")

METHOD = (
    "Each point and the full model run in a process of their own, one at a time, in rounds that "
    "alternate. A round counts with its fastest tenth of calls, because other processes make calls "
    "longer and never shorter; times faster is the median of the quotients within the rounds. "
    "The accuracy is "
    "measured once for each set of weights, in the precision and runtime of the points, because it "
    "hardly depends on the runtime, which the parity check of each build shows. The interval of a "
    "loss is the 95 % bootstrap interval of the paired difference: the images are resampled, and "
    "on each the point is compared with the full model in FP32. The bars of the curve are these "
    "intervals. The line joins the points that no other one beats in both speed and accuracy; the "
    "knee is the point farthest above the straight line between its ends, in the accuracy against "
    "the logarithm of the time (Satopaa et al. 2011)."
)
ORDER = (
    "Precision and runtime are compared on the full model alone, and every point is measured in "
    "the fastest pair: other pairs of a smaller model are not measured. With the same weights, a "
    "point with fewer tokens than one whose loss is certainly too large is not measured, nor one "
    "that costs more than another that loses nothing."
)


def optimise_report(result: OptimiseResult) -> Report:
    """Return the report of a result, also of one that is not complete."""
    warnings = notes_from_texts(doubts(result), "warning")
    table = _points_table(result)
    blocks: tuple[Block, ...] = (table, *warnings)
    if result.measured:
        blocks = (_curve(result), *blocks)
    return Report(
        title=f"{result.setup.checkpoint} on {result.setup.dataset}: the cheapest that is enough",
        summary=tuple(text for text in (result.outcome, describe_times(result)) if text),
        tiles=_tiles(result),
        sections=(
            Section(title="Accuracy and time", blocks=blocks),
            Section(title="Cost and training of the points", blocks=(_cost_table(result),)),
            Section(title="The full model by precision and runtime", blocks=(_pair_table(result),)),
            Section(title="Not measured", blocks=(_skipped(result), Note(text=ORDER))),
            Section(title="Method", blocks=(Note(text=METHOD),)),
            Section(title="Run", blocks=(_run_list(result),), narrow=True),
            environment_section(
                result.environment, pytorch_device="the processor", created=result.created
            ),
            command_line_section(result.command_line or "motivnet-export optimise"),
        ),
        overview=(
            _points_table(result, compact=True),
            *warnings,
            *notes_from_texts(_knee_sentence(result), "plain"),
        ),
    )


def _in_order(result: OptimiseResult) -> list[Measured]:
    return sorted(result.measured, key=lambda each: -each.point.flop)


def _tiles(result: OptimiseResult) -> Details:
    pick, full = result.point(result.pick), result.full
    if pick is None or full is None:
        return ()
    speedup = pick.timing.speedup
    return (
        ("times fewer FLOP", f"{full.point.flop / pick.point.flop:.1f}x"),
        (
            "times faster",
            f"{speedup.median:.1f}x ({speedup.smallest:.1f} to {speedup.largest:.1f})",
        ),
        (result_measure(result), f"{pick.answers.accuracy.value:.1f}%"),
        ("against the full model", change_text(pick.answers)),
        ("per image", duration(pick.timing.seconds)),
    )


def result_measure(result: OptimiseResult) -> str:
    """Return what is measured: accuracy, or agreement where there are no labels."""
    return "accuracy" if result.data.labelled else "agreement with the full model"


def _points_table(result: OptimiseResult, *, compact: bool = False) -> Table:
    full = result.full
    measure = "accuracy" if result.data.labelled else "agreement"
    rows = []
    for each in _in_order(result):
        timing = each.timing
        fewer = f"{full.point.flop / each.point.flop:.1f}x" if full else DASH
        cells = (
            each.point.title,
            f"{each.point.flop / 1e9:.3g}",
            fewer,
            f"{1e3 * timing.seconds:.3g}",
            f"{timing.speedup.median:.1f}x",
            f"{each.answers.accuracy.value:.1f}%",
            change_text(each.answers).replace(" points", ""),
        )
        marks = tuple(
            mark
            for mark, key in (("pick", result.pick), ("knee", result.knee))
            if key == each.point.key
        )
        rows.append(Row(cells=cells, marks=marks, kind="default" if "pick" in marks else "plain"))
    return Table(
        headings=(*HEADINGS[:5], measure, HEADINGS[5]),
        rows=tuple(rows),
        compact=compact,
    )


def _cost_table(result: OptimiseResult) -> Table:
    rows = []
    for each in _in_order(result):
        accuracy, speedup = each.answers.accuracy, each.timing.speedup
        rows.append(
            (
                each.point.title,
                str(each.point.tokens),
                f"{accuracy.low:.1f} to {accuracy.high:.1f}%",
                DASH if each.before is None else f"{each.before:.1f}%",
                f"{speedup.smallest:.2f} to {speedup.largest:.2f}x",
                byte_count(each.timing.peak_memory),
                byte_count(each.model_bytes),
                f"{each.seconds:.0f} s",
                "yes" if is_within(each, result.limits) else "no",
            )
        )
    return Table(
        headings=(
            *("point", "tokens", "interval of the accuracy", "before the refit", "times faster"),
            *("memory of the process", "model", "took", "within the limits"),
        ),
        rows=rows_from_texts(rows),
    )


def _pair_table(result: OptimiseResult) -> Table:
    rows = []
    for each in result.variants:
        is_used = each.pair == result.pair
        marks = (("used",) if is_used else ()) + (("default",) if each.default else ())
        timing = each.timing
        cells = (
            (
                each.pair.title,
                duration(timing.seconds),
                f"{timing.speedup.median:.2f}x",
                byte_count(timing.peak_memory),
            )
            if timing
            else (each.pair.title, each.reason or DASH, DASH, DASH)
        )
        rows.append(Row(cells=cells, marks=marks, kind="default" if is_used else "plain"))
    return Table(
        headings=("precision and runtime", "per image", "times as fast as FP32", "memory"),
        rows=tuple(rows),
    )


def _skipped(result: OptimiseResult) -> Table | Note:
    if not result.skipped:
        return Note(text="Every point of the plan was measured.")
    return Table(
        headings=("point", "GFLOP", "why"),
        rows=rows_from_texts(
            (each.point.title, f"{each.point.flop / 1e9:.3g}", each.reason)
            for each in result.skipped
        ),
    )


def _run_list(result: OptimiseResult) -> List:
    setup, data = result.setup, result.data
    trained = f"{data.trained_on:,} other images" if data.trained_on else "nothing"
    details = (
        ("Full model", setup.checkpoint),
        ("SHA-256", setup.checkpoint_sha256),
        ("Images measured on", f"{data.evaluated:,}: {data.source} of {setup.dataset}"),
        ("Trained on", trained),
        ("Threads", str(result.threads)),
        ("Complete", "yes" if result.complete else "no, it was interrupted"),
    )
    return List(details=details)


def _knee_sentence(result: OptimiseResult) -> list[str]:
    bend = result.point(result.knee)
    if bend is None or result.knee == result.pick:
        return []
    return [f"the knee of the curve is {describe_point(bend, result.full)}"]


def _curve(result: OptimiseResult) -> Plot:
    full = result.full
    limit = None
    base = 100.0
    if full is not None:
        base = full.answers.accuracy.value + full.answers.drop.value  # of the model in FP32
    if result.limits.max_drop is not None:
        limit = base - result.limits.max_drop
    best = {each.point.key for each in front(result.measured)}
    points = [_cost_point(each, result, base=base, best=best) for each in result.measured]
    draw = partial(cost_plot, points, limit=limit, measure=result_measure(result))
    versions: tuple[tuple[str, Callable[[], bytes]], ...] = (
        (f"{NARROW} and {DARK}", partial(draw, narrow=True, dark=True)),
        (NARROW, partial(draw, narrow=True)),
        (DARK, partial(draw, dark=True)),
    )
    return Plot(
        draw=draw,
        description=f"The {result_measure(result)} of each point against its time per image; the "
        "table has the values.",
        versions=versions,
    )


def _cost_point(
    each: Measured, result: OptimiseResult, *, base: float, best: set[str]
) -> CostPoint:
    drop, point = each.answers.drop, each.point
    height, width = point.image_size
    label = point.title if point.kind == "student" else f"{height}x{width}"
    if point.share < 1:
        label += f", {point.share:.0%}"
    notes = [
        note for note, key in (("pick", result.pick), ("knee", result.knee)) if key == point.key
    ]
    return CostPoint(
        kind=point.kind,
        milliseconds=1e3 * each.timing.seconds,
        accuracy=base - drop.value,
        low=base - drop.high,
        high=base - drop.low,
        label=label,
        note=" and ".join(notes),
        is_front=point.key in best,
        before=each.before,
    )
