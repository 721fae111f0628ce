"""The report of a robustness result: a plot of every disturbance, and the table of its numbers."""

from __future__ import annotations

from functools import partial

from motivnet_bench.report.document import (
    NARROW,
    Details,
    List,
    Note,
    Plot,
    Report,
    Section,
    Table,
    command_line_section,
    environment_section,
    rows_from_texts,
)
from motivnet_bench.report.plots import strength_plot
from motivnet_bench.robustness.measure import RobustnessResult, Setting

METHOD = (
    "Each image is disturbed before the artifact's own preprocessing, and answered beside the "
    "image as it is. The loss is the accuracy on the images as they are less that on the disturbed "
    "ones, with the 95 % bootstrap interval of the paired difference. What varies between images, "
    "such as the side to which they are turned, follows from the seed and the place of the image. "
    "Rotation is about the centre; crop moves and scales what is shown by so many percent; blur is "
    "a Gaussian; light is multiplied in linear light; resolution is the width to which the face is "
    "scaled down; occlusion is a grey rectangle anywhere."
)

WITHOUT_LABELS = (
    "The images have no labels: agreement is the share of them whose answer stays as it is without "
    "a disturbance, which may have been wrong."
)


def robustness_report(result: RobustnessResult) -> Report:
    """Return the report of a result."""
    split = f", {result.split} split" if result.split else ""
    accuracy = 100 * result.right / result.images
    curves = {
        name: [(f"{each.strength:g}", each) for each in settings]
        for name, settings in result.by_disturbance.items()
    }
    measure = _measure(result)
    draw = partial(
        strength_plot,
        {
            (name, points[0][1].unit.strip()): [
                (text, each.answers.accuracy) for text, each in points
            ]
            for name, points in curves.items()
        },
        level=accuracy,
        measure=measure,
    )
    plot = Plot(
        draw=draw,
        description=f"{measure} by strength of each disturbance; the table below has the numbers",
        versions=((NARROW, partial(draw, columns=2)),),
    )
    table = robustness_table(result)
    details: Details = (
        ("Runtime", result.runtime),
        ("Data set", f"{result.dataset} ({result.dataset_format})"),
        ("Images", f"{result.images:,}"),
        ("Seed", str(result.seed)),
    )
    return Report(
        title=f"{result.artifact} on {result.dataset}{split}: robustness",
        summary=(describe_robustness(result),),
        tiles=(
            ("accuracy as they are", f"{accuracy:.1f}%" if result.labelled else "no labels"),
            ("images", f"{result.images:,}"),
        ),
        sections=(
            Section(title=f"{measure.capitalize()} by strength", blocks=(plot, table)),
            Section(
                title="Method",
                blocks=(Note(text=METHOD if result.labelled else f"{METHOD} {WITHOUT_LABELS}"),),
            ),
            Section(title="Run", blocks=(List(details=details),), narrow=True),
            environment_section(
                result.environment,
                pytorch_device="no device, it was not used",
                created=result.created,
            ),
            command_line_section(result.command_line or "motivnet-bench robustness"),
        ),
        overview=(table,),
    )


def describe_robustness(result: RobustnessResult) -> str:
    """Return in a sentence what costs most of the mildest of each disturbance."""
    mild = [settings[0] for settings in result.by_disturbance.values()]
    worst = max(mild, key=lambda each: each.answers.drop.value)
    accuracy = 100 * result.right / result.images
    known = (
        f"{accuracy:.1f}% are answered right as they are" if result.labelled else "none is labelled"
    )
    loss = worst.answers.drop.value
    cost = (
        f"Of the mildest disturbances {describe_setting(worst)} costs most: {loss:.1f} points."
        if loss > 0
        else "None of the mildest disturbances costs anything."
    )
    return f"Of {result.images:,} images {known}. {cost}"


def robustness_table(result: RobustnessResult) -> Table:
    """Return a row for every disturbance and strength."""
    return Table(
        headings=(
            "disturbance",
            _measure(result),
            "points lost",
            "95 % interval",
            "answers changed",
        ),
        rows=rows_from_texts(map(_cells, result.settings)),
    )


def _measure(result: RobustnessResult) -> str:
    """Return what the percentages are."""
    return "accuracy" if result.labelled else "agreement"


def describe_setting(setting: Setting) -> str:
    """Return a disturbance and its strength."""
    return f"{setting.disturbance} {setting.strength:g}{setting.unit}"


def _cells(setting: Setting) -> tuple[str, ...]:
    drop = setting.answers.drop
    return (
        describe_setting(setting),
        f"{setting.answers.accuracy.value:.1f}%",
        f"{drop.value:.1f}",
        f"{drop.low:.1f} to {drop.high:.1f}",
        f"{setting.changed:.1%}",
    )
