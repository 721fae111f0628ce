"""The report of an artifact's accuracy by group: the gap in a sentence, a plot, and every group."""

from __future__ import annotations

from functools import partial

from motivnet_bench.groups.gap import ALPHA, HALF_WIDTH, MIN_IMAGES
from motivnet_bench.groups.measure import Group, GroupsResult
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
    command_line_section,
    environment_section,
    notes_from_texts,
    rows_from_texts,
)
from motivnet_bench.report.plots import Shade, interval_plot

MIN_EXCHANGED = 0.5
"""With fewer to exchange, the test is said to be weak."""

METHOD = (
    "The intervals of the groups' accuracies are Wilson's. The gap is that of the two groups that "
    "are farthest apart, with the bootstrap interval of these two. The test gives the groups' "
    "names again to images of the same class, 5,000 times: p is how often the farthest two groups "
    "are then as far apart. So a group with harder expressions is not taken for one that the model "
    f"fails, and the choice of the farthest two is accounted for. Below {ALPHA:g} a gap counts as "
    f"found. A group of fewer than {MIN_IMAGES} images is not compared. Where the data set names "
    "people who have several images each, the intervals are of resampled people, and the test "
    "exchanges people with as many images of each class, because images of one person are alike."
)
MEANING = (
    "A gap that is found says that the model is right less often for a group in these images, and "
    "not why. One that is not found does not say that there is none: a small data set shows only "
    "large ones. The names of the groups are the data set's, and what people wrote down of others."
)


def groups_report(result: GroupsResult) -> Report:
    """Return the report of a result."""
    split = f", {result.split} split" if result.split else ""
    title = f"{result.artifact} on {result.dataset}{split}, by {result.by}"
    table, notes = groups_table(result), notes_from_texts(_warnings(result), "warning")
    blocks: tuple[Block, ...] = (_plot(result), table, *notes)
    return Report(
        title=title,
        summary=(describe_gap(result),),
        tiles=_tiles(result),
        sections=(
            Section(title="Accuracy by group", blocks=blocks),
            Section(title="Recall by group and class", blocks=(_recalls(result),)),
            *(
                Section(
                    title=f"Answers for {group.name}, by true class",
                    blocks=(_confusion(group, result),),
                )
                for group in result.groups
            ),
            Section(title="Method", blocks=(Note(text=METHOD), Note(text=MEANING))),
            Section(title="Run", blocks=(_run(result),), narrow=True),
            environment_section(
                result.environment,
                pytorch_device="no device, it was not used",
                created=result.created,
            ),
            command_line_section(result.command_line or "motivnet-bench groups"),
        ),
        overview=(table, *notes),
    )


def describe_gap(result: GroupsResult) -> str:
    """Return the worst gap in a sentence, and whether chance makes such ones."""
    gap = result.gap
    if gap is None:
        return f"No two groups have {MIN_IMAGES} images each: no gap can be measured."
    verdict = (
        "a gap is found"
        if gap.found
        else "no gap is found: chance makes such ones, or the images are too few to tell"
    )
    return (
        f"The model is right {gap.points:.1f} points less often for {gap.worst} than for "
        f"{gap.best} (95 % interval {gap.low:.1f} to {gap.high:.1f}); p = {gap.p:.2g}: {verdict}."
    )


def _tiles(result: GroupsResult) -> Details:
    gap = result.gap
    if gap is None:
        return ()
    return (
        ("worst gap", f"{gap.points:.1f} points"),
        ("95 % interval", f"{gap.low:.1f} to {gap.high:.1f}"),
        ("p", f"{gap.p:.2g}"),
        ("groups compared", str(sum(group.is_compared for group in result.groups))),
    )


def _plot(result: GroupsResult) -> Plot:
    gap = result.gap
    worst = None if gap is None else gap.worst
    rows: list[tuple[str, float, float, float, Shade]] = [
        (
            f"{group.name} ({group.metrics.images})",
            100 * group.metrics.accuracy,
            group.low,
            group.high,
            "accent" if group.name == worst else "muted",
        )
        for group in result.groups
    ]
    draw = partial(interval_plot, rows, label="accuracy in percent, with its 95 % interval")
    short = partial(interval_plot, rows, label="accuracy in percent", narrow=True)
    return Plot(
        draw=draw,
        description="accuracy of each group with its interval; the table below has the numbers",
        versions=(
            (f"{NARROW} and {DARK}", partial(short, dark=True)),
            (NARROW, short),
            (DARK, partial(draw, dark=True)),
        ),
    )


def groups_table(result: GroupsResult, *, title: str = "") -> Table:
    """Return every group with its metrics; of people, where the dataset names them."""
    named = any(group.people is not None for group in result.groups)
    rows = []
    for group in result.groups:
        metrics, gap = group.metrics, result.gap
        marks = [] if group.is_compared else ["too few"]
        if gap is not None and group.name in (gap.best, gap.worst):
            marks.append("best" if group.name == gap.best else "worst")
        people = DASH if group.people is None else f"{group.people:,}"
        cells = (
            group.name,
            *((people,) if named else ()),
            f"{metrics.images:,}",
            f"{metrics.accuracy:.1%}",
            f"{group.low:.1f} to {group.high:.1f}%",
            f"{metrics.macro_f1:.3f}",
            f"{group.calibration_error:.3f}",
        )
        rows.append(Row(cells=cells, marks=tuple(marks)))
    headings = ("images", "accuracy", "95 % interval", "macro F1", "calibration error")
    return Table(
        title=title,
        headings=(result.by, *(("people",) if named else ()), *headings),
        rows=tuple(rows),
    )


def _recalls(result: GroupsResult) -> Table:
    """Return the recalls of the classes that any image is of."""

    def text(value: float | None) -> str:
        return DASH if value is None else f"{value:.1%}"

    return Table(
        headings=("class", *(group.name for group in result.groups)),
        rows=rows_from_texts(
            (label, *(text(group.metrics.recall[label]) for group in result.groups))
            for label in result.labels
            if any(group.metrics.recall[label] is not None for group in result.groups)
        ),
    )


def _confusion(group: Group, result: GroupsResult) -> Table:
    return Table(
        headings=("true class", *result.labels),
        rows=rows_from_texts(
            (label, *(str(count) for count in counts))
            for label, counts in zip(result.labels, group.metrics.confusion, strict=True)
            if any(counts)
        ),
    )


def _warnings(result: GroupsResult) -> list[str]:
    gap, several = result.gap, any(_has_several(group) for group in result.groups)
    images = "images of different people" if several else "images"
    found = [
        f"{group.name}: {group.metrics.images} image{_are(group.metrics.images)} too few to "
        f"compare, {MIN_IMAGES} would do, and about {group.enough_images:,} {images} for an "
        f"interval of {HALF_WIDTH:g} points to each side"
        for group in result.groups
        if not group.is_compared
    ]
    wide = [
        f"{group.name} (about {group.enough_images:,} {images} would do)"
        for group in result.groups
        if group.is_compared and group.high - group.low > 2 * HALF_WIDTH
    ]
    if wide:
        found.append(
            f"the interval is wider than {HALF_WIDTH:g} points to each side for {', '.join(wide)}"
        )
    if gap is not None and gap.exchanged < MIN_EXCHANGED:
        found.append(
            f"only {gap.exchanged:.0%} of the {'people' if several else 'images'} have one of "
            "another group beside them with images of the same classes: the test can hardly find a "
            "gap here"
        )
    if result.without_group:
        found.append(f"{result.without_group:,} images have no {result.by} and are in no group")
    if result.max_gap is not None and gap is not None and gap.points <= result.max_gap < gap.high:
        found.append(
            f"the gap is within --max-gap {result.max_gap:g}, but its interval reaches "
            f"{gap.high:.1f} points: more images would tell"
        )
    return found


def _are(count: int) -> str:
    return " is" if count == 1 else "s are"


def _has_several(group: Group) -> bool:
    """Whether somebody has several images; then its people are resampled."""
    return group.people is not None and group.people < group.metrics.images


def _run(result: GroupsResult) -> List:
    skipped = (
        ", ".join(f"{count:,} x {reason}" for reason, count in result.skipped.items()) or "nothing"
    )
    details: Details = (
        ("Runtime", result.runtime),
        ("Temperature", f"{result.temperature:g}"),
        ("Data set", f"{result.dataset} ({result.dataset_format})"),
        ("Images", f"{result.images:,}"),
        ("Left out", skipped),
    )
    return List(details=details)
