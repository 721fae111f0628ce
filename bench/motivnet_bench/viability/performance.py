"""How right a MotivNet is on labelled images, and where that lies among the published figures."""

from __future__ import annotations

from collections.abc import Sequence

from motivnet.datasets.published import PublishedResult, published_results
from motivnet.datasets.sample import Dataset
from motivnet.datasets.sample_metrics import figures_of
from motivnet.metrics import ClassificationFigures
from motivnet.prediction import softmax
from motivnet_bench.viability.images import FedModel, outputs_of
from motivnet_bench.viability.result import Performance, Standing


def measure_performance(
    model: FedModel, name: str, dataset: Dataset, *, whole: bool
) -> Performance:
    """The figures of a model over a dataset; where people voted, the loss is that of their votes.

    Args:
        name: What the dataset is called in the report.
        whole: Whether it is all that its folder has; a part of a published dataset is other data.
    """
    pictures = (sample.pixels() for sample in dataset.samples)
    probabilities = softmax(outputs_of(model, pictures, "logits", total=len(dataset.samples)))
    figures = figures_of(dataset.samples, probabilities, dataset.labels)
    parts = (dataset.part,) if dataset.part else ()
    published = published_results(
        dataset.layout if whole else None, parts=parts, labels=dataset.labels
    )
    return Performance(
        dataset=name,
        layout=dataset.layout,
        figures=figures,
        published=published,
        standings=standings(figures, published),
        unreadable=dataset.unreadable,
        skipped=dataset.skipped,
    )


def standings(
    ours: ClassificationFigures, published: Sequence[PublishedResult]
) -> dict[str, Standing]:
    """Where our figures lie among the published ones, by name; those of the same dataset alone where there are any."""
    names = dict.fromkeys(name for result in published for name in result.figures)
    return {
        name: _standing(name, value, published)
        for name in names
        if (value := getattr(ours, name)) is not None
    }


def _standing(name: str, ours: float, published: Sequence[PublishedResult]) -> Standing:
    having = [result for result in published if name in result.figures]
    same = [result for result in having if result.same_data]
    compared = same or having
    values = [result.figures[name] for result in compared]
    return Standing(
        place="below" if ours < min(values) else "above" if ours > max(values) else "within",
        ours=ours,
        lowest=min(values),
        highest=max(values),
        datasets=tuple(dict.fromkeys(result.dataset for result in compared)),
        same_data=bool(same),
    )
