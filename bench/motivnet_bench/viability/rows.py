"""A result of the three criteria as rows of text, once for the terminal and the page."""

from __future__ import annotations

from motivnet_bench.report.columns import DASH
from motivnet_bench.report.facts import machine_facts
from motivnet_bench.report.figure_rows import TITLES, absent_note, figure_text, published_note
from motivnet_bench.report.page import Pairs
from motivnet_bench.viability.bootstrap import CONFIDENCE, Estimate
from motivnet_bench.viability.result import (
    Change,
    CriteriaResult,
    DataSimilarity,
    Difference,
    ModelSimilarity,
    Performance,
    Shape,
)

PERFORMANCE_METHOD = (
    "The checkpoint runs in PyTorch, every image through its own input recipe. A figure is within the published ones "
    "if it lies between the smallest and the largest that the paper gives under that name, over those of the same "
    "dataset where there are any. That is a comparison, and not a threshold of the paper."
)
MODEL_METHOD = (
    "A weight is common if both models have it under the same name, by the table of known key names, and in the same "
    "shape; a module is common if all weights that it holds itself are. A relative change is the norm of the "
    "difference over the norm before."
)
DATA_METHOD = (
    "An image is the mean of the encoder's final tokens. Frechet distance: the squared 2-Wasserstein distance of two "
    "Gaussians with the sets' means and covariances, 0 for equal sets. Alignment: linear centred kernel alignment of "
    "the two covariances over the embedding's dimensions, 1 where these vary together in both sets in the same way, "
    "up to scale. The intervals are percentiles over bootstrap samples of both folders. Neither figure has a "
    "threshold: compare them with those of another pair of folders, of as many images."
)
STANDING_HEADINGS = (
    "figure",
    "ours",
    "lowest published",
    "highest published",
    "published on",
    "ours lies",
)
DIFFERENCE_HEADINGS = ("module", "this MotivNet", "Sapiens encoder")
CHANGE_HEADINGS = ("weight", "relative change")
DATA_HEADINGS = ("figure", "value", f"{CONFIDENCE:.0%} interval")
LARGEST = 10


def standing_rows(performance: Performance) -> tuple[tuple[str, ...], ...]:
    """Every published figure beside ours, under ``STANDING_HEADINGS``."""
    return tuple(
        (
            TITLES[name],
            figure_text(name, standing.ours),
            figure_text(name, standing.lowest),
            figure_text(name, standing.highest),
            f"{', '.join(standing.datasets)}{' (same data)' if standing.same_data else ''}",
            standing.place,
        )
        for name, standing in performance.standings.items()
    )


def performance_notes(performance: Performance) -> tuple[str, ...]:
    """What a reader has to know of one dataset's figures."""
    notes = (
        *(f"not read: {file}: {reason}" for file, reason in performance.unreadable.items()),
        *(f"left out: {count} ({reason})" for reason, count in performance.skipped.items()),
        *absent_note(performance.figures),
        published_note(performance.published),
    )
    return tuple(f"{performance.dataset}: {note}" for note in notes)


def model_facts(model: ModelSimilarity) -> Pairs:
    """How much of the model is the encoder's, and how far it moved."""
    return (
        ("Sapiens encoder", f"{model.encoder} ({model.layout} keys, SHA-256 {model.sha256[:12]})"),
        (
            "Common parameters",
            f"{model.common_parameters:,} of {model.parameters:,} ({model.parameter_share:.2%})",
        ),
        ("Common modules", f"{model.common_modules} of {model.modules} ({model.module_share:.2%})"),
        (
            "Bit-equal",
            DASH if model.bit_equal is None else f"{model.bit_equal:.2%} of the common parameters",
        ),
        ("Moved by", f"{_relative(model.relative_change)} relative, all common weights together"),
        ("Largest change", _change_text(model.largest_change)),
        ("Other weights", difference_counts(model)),
    )


def difference_counts(model: ModelSimilarity) -> str:
    """How many weights differ in which way."""
    kinds = [_kind(difference) for difference in model.differences]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none"


def difference_rows(model: ModelSimilarity) -> tuple[tuple[str, ...], ...]:
    """Every difference, a row for each module that has some, under ``DIFFERENCE_HEADINGS``."""
    modules: dict[str, list[Difference]] = {}
    for difference in model.differences:
        modules.setdefault(difference.name.rpartition(".")[0], []).append(difference)
    return tuple(
        (
            module,
            ", ".join(
                _weight_text(each.name, each.motivnet) for each in held if each.motivnet is not None
            )
            or DASH,
            ", ".join(
                _weight_text(each.name, each.encoder) for each in held if each.encoder is not None
            )
            or DASH,
        )
        for module, held in modules.items()
    )


def change_rows(model: ModelSimilarity) -> tuple[tuple[str, ...], ...]:
    """The weights that moved most, under ``CHANGE_HEADINGS``."""
    ordered = sorted(
        model.changes, key=lambda each: (each.relative is not None, -(each.relative or 0.0))
    )
    return tuple(
        (change.name, _relative(change.relative, zero=True)) for change in ordered[:LARGEST]
    )


def data_rows(data: DataSimilarity) -> tuple[tuple[str, ...], ...]:
    """Every figure of the data similarity, under ``DATA_HEADINGS``."""
    return (
        ("Frechet distance", _figure(data.frechet.value), _interval(data.frechet)),
        ("of it between the means", _figure(data.mean_distance), DASH),
        ("centred kernel alignment", f"{data.alignment.value:.4f}", _interval(data.alignment)),
        (f"variance of {data.data.folder}", _figure(data.data.variance), DASH),
        (f"variance of {data.reference.folder}", _figure(data.reference.variance), DASH),
        (f"images of {data.data.folder}", str(data.data.images), DASH),
        (f"images of {data.reference.folder}", str(data.reference.images), DASH),
        ("dimensions", str(data.dimensions), DASH),
    )


def data_notes(data: DataSimilarity) -> tuple[str, ...]:
    """What a reader has to know of the data similarity."""
    unreadable = (
        f"{images.folder}: not read: {file}: {reason}"
        for images in (data.data, data.reference)
        for file, reason in images.unreadable.items()
    )
    return (*unreadable, *data.warnings)


def verdicts(result: CriteriaResult) -> tuple[str, ...]:
    """A sentence for every criterion that was asked for; figures, without a pass mark."""
    sentences = [_performance_verdict(performance) for performance in result.performance]
    if (model := result.model) is not None:
        sentences.append(_model_verdict(model))
    if (data := result.data) is not None:
        sentences.append(
            f"Between {data.data.folder} and {data.reference.folder} the Frechet distance is "
            f"{_figure(data.frechet.value)} and the alignment {data.alignment.value:.3f}."
        )
    return tuple(sentences)


def subject_pairs(result: CriteriaResult) -> Pairs:
    """The model that was judged."""
    height, width = result.recipe.size
    encoder = result.config.encoder
    return (
        ("Checkpoint", result.checkpoint),
        ("SHA-256", result.sha256),
        (
            "Encoder",
            f"width {encoder.embed_dim}, {encoder.depth} blocks, {result.config.parameters:,} parameters in all",
        ),
        ("Labels", ", ".join(result.labels)),
        ("Input", f"{height}x{width}, recipe {result.recipe.name}"),
    )


def environment_pairs(result: CriteriaResult) -> Pairs:
    """Where it was judged."""
    device = "the processor" if result.device == "cpu" else result.device
    return machine_facts(result.environment, pytorch_device=device, created=result.created)


def _performance_verdict(performance: Performance) -> str:
    standing = performance.standings["accuracy"]
    other = "" if standing.same_data else ", of other data"
    return (
        f"Accuracy {standing.ours:.2%} on {performance.dataset}: {standing.place} the published "
        f"{standing.lowest:.2%} to {standing.highest:.2%}{other}."
    )


def _model_verdict(model: ModelSimilarity) -> str:
    equal = (
        "" if model.bit_equal is None else f", {model.bit_equal:.1%} of these parameters bit-equal"
    )
    return (
        f"{model.parameter_share:.1%} of the parameters and {model.module_share:.1%} of the modules are those of "
        f"{model.encoder}{equal}."
    )


def _kind(difference: Difference) -> str:
    if difference.encoder is None:
        return "only in this MotivNet"
    return "only in the encoder" if difference.motivnet is None else "in another shape"


def _weight_text(name: str, shape: Shape) -> str:
    return f"{name.rpartition('.')[2]} {' x '.join(str(side) for side in shape)}"


def _change_text(change: Change | None) -> str:
    return DASH if change is None else f"{change.name}, {_relative(change.relative, zero=True)}"


def _relative(value: float | None, *, zero: bool = False) -> str:
    if value is None:
        return "from zero" if zero else DASH
    return "0" if value == 0 else f"{value:.2e}"


def _figure(value: float) -> str:
    return f"{value:.4g}"


def _interval(estimate: Estimate) -> str:
    return f"{_figure(estimate.low)} to {_figure(estimate.high)}"
