"""A result of the three criteria as one HTML file that needs nothing beside it."""

from __future__ import annotations

from motivnet_bench.report.figure_rows import figure_rows
from motivnet_bench.report.page import data_uri, definitions, escape, notes, page, table, tile
from motivnet_bench.viability.plots import change_plot, image_plot
from motivnet_bench.viability.result import (
    CriteriaResult,
    DataSimilarity,
    ModelSimilarity,
    Performance,
)
from motivnet_bench.viability.rows import (
    CHANGE_HEADINGS,
    DATA_HEADINGS,
    DATA_METHOD,
    DIFFERENCE_HEADINGS,
    MODEL_METHOD,
    PERFORMANCE_METHOD,
    STANDING_HEADINGS,
    change_rows,
    data_notes,
    data_rows,
    difference_rows,
    environment_pairs,
    model_facts,
    performance_notes,
    standing_rows,
    subject_pairs,
    verdicts,
)

TEMPLATE = "criteria_template.html"


def html_from_criteria(result: CriteriaResult) -> str:
    """The report: a sentence for each criterion, its figures, and the command that repeats the run.

    Every text of the result is escaped.
    """
    sections = (
        _performance_section(result.performance) if result.performance else "",
        _model_section(result.model) if result.model else "",
        _data_section(result.data) if result.data else "",
    )
    return page(
        f"{result.checkpoint}: the three criteria of a Sapiens task",
        TEMPLATE,
        verdicts="".join(
            f'<p class="verdict">{escape(sentence)}</p>' for sentence in verdicts(result)
        ),
        tiles=_tiles(result),
        sections="".join(sections),
        subject=definitions(subject_pairs(result)),
        environment=definitions(environment_pairs(result)),
        command=escape(result.command or "motivnet-bench criteria"),
    )


def _tiles(result: CriteriaResult) -> str:
    tiles = [
        tile(f"accuracy on {each.dataset}", f"{each.figures.accuracy:.2%}")
        for each in result.performance
    ]
    if result.model is not None:
        tiles.append(tile("parameters in common", f"{result.model.parameter_share:.2%}"))
        tiles.append(tile("modules in common", f"{result.model.module_share:.2%}"))
    if result.data is not None:
        for name, figure, interval in data_rows(result.data):
            if name in ("Frechet distance", "centred kernel alignment"):
                tiles.append(tile(name, f"{figure} ({interval})"))
    return "".join(tiles)


def _performance_section(performance: tuple[Performance, ...]) -> str:
    published = performance[0].published
    headings = (
        "figure",
        *(each.dataset for each in performance),
        *(each.title for each in published),
    )
    rows = figure_rows([each.figures for each in performance], published)
    standing = "".join(
        f'<h2 class="next">{escape(each.dataset)} among the published figures</h2>'
        f'<div class="scroll">{table(STANDING_HEADINGS, standing_rows(each))}</div>'
        f'<h2 class="next">{escape(each.dataset)}: true class (rows) and predicted class</h2>'
        f'<div class="scroll">{_confusion(each)}</div>'
        for each in performance
    )
    return _section(
        "1. Benchmark performance",
        f'<div class="scroll">{table(headings, rows)}</div>{standing}',
        [note for each in performance for note in performance_notes(each)],
        PERFORMANCE_METHOD,
    )


def _confusion(performance: Performance) -> str:
    labels = tuple(performance.figures.recall)
    rows = zip(labels, performance.figures.confusion, strict=True)
    return table(
        ("", *labels), [(label, *(str(count) for count in counts)) for label, counts in rows]
    )


def _model_section(model: ModelSimilarity) -> str:
    plot = (
        f'<img alt="Relative change of each common weight; the table has the largest." '
        f'src="{data_uri(change_plot(model))}">'
    )
    return _section(
        "2. Model similarity",
        f'<div class="halves"><dl>{definitions(model_facts(model))}</dl><div>{plot}</div></div>'
        f'<h2 class="next">Differences</h2>'
        f'<div class="scroll tall">{table(DIFFERENCE_HEADINGS, difference_rows(model))}</div>'
        f'<h2 class="next">Weights that moved most</h2>'
        f'<div class="scroll">{table(CHANGE_HEADINGS, change_rows(model))}</div>',
        [],
        MODEL_METHOD,
    )


def _data_section(data: DataSimilarity) -> str:
    plot = (
        f'<img alt="Images of both folders in the plane of their two largest principal components." '
        f'src="{data_uri(image_plot(data))}">'
    )
    return _section(
        "3. Data similarity",
        f'<div class="halves"><div class="scroll">{table(DATA_HEADINGS, data_rows(data))}</div><div>{plot}</div></div>',
        data_notes(data),
        DATA_METHOD,
    )


def _section(title: str, content: str, warnings: tuple[str, ...] | list[str], method: str) -> str:
    return (
        f"<section><h2>{escape(title)}</h2>{content}{notes(warnings, 'warning')}"
        f'<p class="method">{escape(method)}</p></section>\n'
    )
