"""The report of a viability result: its tables, what they mean, and a sentence per criterion."""

from __future__ import annotations

from functools import partial

from motivnet_bench.report.accuracy import (
    TITLES,
    data_notes,
    metric_text,
    metrics_table,
)
from motivnet_bench.report.document import (
    DASH,
    Beside,
    Block,
    Details,
    List,
    Note,
    Plot,
    Report,
    Section,
    Table,
    TextBlock,
    command_line_section,
    environment_section,
    notes_from_texts,
    rows_from_texts,
)
from motivnet_bench.report.plots import PointSet, change_plot, points_plot
from motivnet_bench.viability.result import (
    Change,
    DataSimilarity,
    Difference,
    Estimate,
    ModelSimilarity,
    Performance,
    Shape,
    ViabilityResult,
)

PERFORMANCE_METHOD = (
    "The checkpoint runs in PyTorch, and every image is preprocessed as the checkpoint says. A "
    "metric is within the published ones if it is between the smallest and the largest that the "
    "paper gives under that name, over those of the same dataset if there are any. That is a "
    "comparison, and not a threshold of the paper."
)
MODEL_METHOD = (
    "A weight is common if both models have it under the same name, by the table of known key "
    "names, and in the same shape; a module is common if all weights that it holds itself are. A "
    "relative change is the norm of the difference over the norm before."
)
DATA_METHOD = (
    "An image is represented by the mean of the encoder's final tokens. Frechet distance: the "
    "squared 2-Wasserstein distance of two Gaussians with the sets' means and covariances, 0 for "
    "equal sets. Alignment: linear centred kernel alignment of the two covariances over the "
    "embedding's dimensions, 1 if these vary together in both sets in the same way, up to scale. "
    "The intervals are percentiles over bootstrap samples of both folders. Neither has a "
    "threshold: compare them with those of another pair of folders, of as many images."
)


def viability_report(result: ViabilityResult) -> Report:
    """Return the report of a result: a section per criterion that was asked for."""
    sections: list[Section] = []
    overview: list[TextBlock] = []
    if result.performance:
        sections.append(_performance_section(result.performance))
    for performance in result.performance:
        overview += [_standing_table(performance), *_performance_notes(performance)]
    if (model := result.model) is not None:
        sections.append(_model_section(model))
        overview.append(_model_list(model))
    if (data := result.data) is not None:
        sections.append(_data_section(data))
        overview += [_data_table(data), *_data_notes(data)]
    device = "the processor" if result.device == "cpu" else result.device
    return Report(
        title=f"{result.checkpoint}: viability as a Sapiens task",
        summary=viability_summary(result),
        tiles=_tiles(result),
        sections=(
            *sections,
            Section(title="Target", blocks=(_target_list(result),), narrow=True),
            environment_section(result.environment, pytorch_device=device, created=result.created),
            command_line_section(result.command_line or "motivnet-bench viability"),
        ),
        overview=tuple(overview),
    )


def viability_summary(result: ViabilityResult) -> tuple[str, ...]:
    """Return a sentence for every criterion that was asked for; there is no pass mark."""
    sentences = []
    for performance in result.performance:
        standing = performance.standings["accuracy"]
        sentences.append(
            f"Accuracy {standing.ours:.2%} on {performance.dataset}: {standing.place} the "
            f"published {standing.lowest:.2%} to {standing.highest:.2%}"
            f"{'' if standing.same_data else ', of other data'}."
        )
    if (model := result.model) is not None:
        equal = ""
        if model.bit_equal is not None:
            equal = f", {model.bit_equal:.1%} of these parameters bit-equal"
        sentences.append(
            f"{model.parameter_share:.1%} of the parameters and {model.module_share:.1%} of the "
            f"modules are those of {model.encoder}{equal}."
        )
    if (data := result.data) is not None:
        sentences.append(
            f"Between {data.data.folder} and {data.reference.folder} the Frechet distance is "
            f"{_number(data.frechet.value)} and the alignment {data.alignment.value:.3f}."
        )
    return tuple(sentences)


def _tiles(result: ViabilityResult) -> Details:
    tiles = [
        (f"accuracy on {each.dataset}", f"{each.metrics.accuracy:.2%}")
        for each in result.performance
    ]
    if (model := result.model) is not None:
        tiles.append(("parameters in common", f"{model.parameter_share:.2%}"))
        tiles.append(("modules in common", f"{model.module_share:.2%}"))
    if (data := result.data) is not None:
        frechet, alignment = data.frechet, data.alignment
        tiles.append(("Frechet distance", f"{_number(frechet.value)} ({_interval(frechet)})"))
        text = f"{alignment.value:.4f} ({_interval(alignment)})"
        tiles.append(("centred kernel alignment", text))
    return tuple(tiles)


def _target_list(result: ViabilityResult) -> List:
    height, width = result.preprocessing.size
    encoder = result.config.encoder
    details = (
        ("Checkpoint", result.checkpoint),
        ("SHA-256", result.sha256),
        (
            "Encoder",
            f"width {encoder.embed_dim}, {encoder.depth} blocks, "
            f"{result.config.parameters:,} parameters in all",
        ),
        ("Labels", ", ".join(result.labels)),
        ("Input", f"{height}x{width}, preprocessing {result.preprocessing.name}"),
    )
    return List(details=details)


def _performance_section(performance: tuple[Performance, ...]) -> Section:
    ours = {each.dataset: each.metrics for each in performance}
    tables = [metrics_table(ours, performance[0].published)]
    notes: list[Note] = []
    for each in performance:
        tables += [_standing_table(each), _confusion_table(each)]
        notes += _left_out_notes(each.dataset, each.left_out)
        notes += _performance_notes(each)
    blocks: tuple[Block, ...] = (*tables, *notes, Note(text=PERFORMANCE_METHOD))
    return Section(title="1. Benchmark performance", blocks=blocks)


def _standing_table(performance: Performance) -> Table:
    rows = [
        (
            TITLES[name],
            metric_text(name, standing.ours),
            metric_text(name, standing.lowest),
            metric_text(name, standing.highest),
            f"{', '.join(standing.datasets)}{' (same data)' if standing.same_data else ''}",
            standing.place,
        )
        for name, standing in performance.standings.items()
    ]
    return Table(
        title=f"{performance.dataset} among the published metrics",
        headings=(
            *("metric", "ours", "lowest published", "highest published", "published on"),
            "ours is",
        ),
        rows=rows_from_texts(rows),
    )


def _confusion_table(performance: Performance) -> Table:
    labels = tuple(performance.metrics.recall)
    counts = zip(labels, performance.metrics.confusion, strict=True)
    return Table(
        title=f"{performance.dataset}: true class (rows) and predicted class",
        headings=("", *labels),
        rows=rows_from_texts((label, *map(str, row)) for label, row in counts),
    )


def _performance_notes(performance: Performance) -> tuple[Note, ...]:
    notes = data_notes(performance.metrics, performance.published)
    return notes_from_texts([f"{performance.dataset}: {note}" for note in notes], "warning")


def _model_section(model: ModelSimilarity) -> Section:
    plot = Plot(
        draw=partial(change_plot, [change.relative for change in model.changes]),
        description="Relative change of each common weight; the table has the largest.",
    )
    changes = Table(
        title="Weights that moved most",
        headings=("weight", "relative change"),
        rows=rows_from_texts(
            (change.name, _relative(change)) for change in model.largest_changes()[:10]
        ),
    )
    return Section(
        title="2. Model similarity",
        blocks=(
            Beside(left=_model_list(model), right=plot),
            _difference_table(model),
            changes,
            Note(text=MODEL_METHOD),
        ),
    )


def _model_list(model: ModelSimilarity) -> List:
    largest = next(iter(model.largest_changes()), None)
    kinds = [_kind(difference) for difference in model.differences]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    moved = DASH if model.relative_change is None else _scientific(model.relative_change)
    equal = DASH if model.bit_equal is None else f"{model.bit_equal:.2%} of the common parameters"
    details = (
        (
            "Sapiens encoder",
            f"{model.encoder} ({model.key_layout} keys, SHA-256 {model.sha256[:12]})",
        ),
        (
            "Common parameters",
            f"{model.common_parameters:,} of {model.parameters:,} ({model.parameter_share:.2%})",
        ),
        ("Common modules", f"{model.common_modules} of {model.modules} ({model.module_share:.2%})"),
        ("Bit-equal", equal),
        ("Moved by", f"{moved} relative, all common weights together"),
        ("Largest change", DASH if largest is None else f"{largest.name}, {_relative(largest)}"),
        ("Other weights", ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none"),
    )
    return List(title="Model similarity", details=details)


def _difference_table(model: ModelSimilarity) -> Table:
    modules: dict[str, list[Difference]] = {}
    for difference in model.differences:
        modules.setdefault(difference.name.rpartition(".")[0], []).append(difference)
    rows = [
        (
            module,
            _weights([(each.name, each.motivnet) for each in differences]),
            _weights([(each.name, each.encoder) for each in differences]),
        )
        for module, differences in modules.items()
    ]
    return Table(
        title="Differences",
        headings=("module", "this MotivNet", "Sapiens encoder"),
        rows=rows_from_texts(rows),
        tall=True,
    )


def _weights(weights: list[tuple[str, Shape | None]]) -> str:
    texts = (
        f"{name.rpartition('.')[2]} {' x '.join(map(str, shape))}"
        for name, shape in weights
        if shape is not None
    )
    return ", ".join(texts) or DASH


def _kind(difference: Difference) -> str:
    if difference.encoder is None:
        return "only in this MotivNet"
    return "only in the encoder" if difference.motivnet is None else "in another shape"


def _data_section(data: DataSimilarity) -> Section:
    sets: list[PointSet] = [
        (data.reference.folder, "muted", data.reference.points),
        (data.data.folder, "accent", data.data.points),
    ]
    plot = Plot(
        draw=partial(points_plot, sets),
        description="Images of both folders in the plane of their two principal components.",
    )
    return Section(
        title="3. Data similarity",
        blocks=(
            Beside(left=_data_table(data), right=plot),
            *_left_out_notes(data.data.folder, data.data.left_out),
            *_left_out_notes(data.reference.folder, data.reference.left_out),
            *_data_notes(data),
            Note(text=DATA_METHOD),
        ),
    )


def _data_table(data: DataSimilarity) -> Table:
    ours, reference = data.data, data.reference
    rows = (
        ("Frechet distance", _number(data.frechet.value), _interval(data.frechet)),
        ("thereof between the means", _number(data.mean_distance), DASH),
        ("centred kernel alignment", f"{data.alignment.value:.4f}", _interval(data.alignment)),
        (f"variance of {ours.folder}", _number(ours.variance), DASH),
        (f"variance of {reference.folder}", _number(reference.variance), DASH),
        (f"images of {ours.folder}", str(ours.images), DASH),
        (f"images of {reference.folder}", str(reference.images), DASH),
        ("dimensions", str(data.dimensions), DASH),
    )
    return Table(
        title=f"{ours.folder} beside {reference.folder}",
        headings=("statistic", "value", "95% interval"),
        rows=rows_from_texts(rows),
    )


def _data_notes(data: DataSimilarity) -> tuple[Note, ...]:
    return notes_from_texts(data.warnings, "warning")


def _left_out_notes(folder: str, line: str) -> tuple[Note, ...]:
    """Return what was left out of a folder, for the page: a terminal has it on standard error."""
    return notes_from_texts([f"{folder}: left out {line}"] if line else [], "warning")


def _relative(change: Change) -> str:
    return "from zero" if change.relative is None else _scientific(change.relative)


def _scientific(value: float) -> str:
    return "0" if value == 0 else f"{value:.2e}"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _interval(estimate: Estimate) -> str:
    return f"{_number(estimate.low)} to {_number(estimate.high)}"
