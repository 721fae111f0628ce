"""Benchmark performance: metrics on labelled images, and their place among the published ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.datasets.sample import Dataset
from motivnet.metrics import (
    ClassificationMetrics,
    PublishedResult,
    compute_sample_metrics,
    published_results,
)
from motivnet.prediction import softmax
from motivnet.preprocess import Preprocessing
from motivnet.runtime import Runtime
from motivnet.terminal import progress
from motivnet_bench.viability.result import Performance, Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchedModel:
    """An open model, the preprocessing of its images, and how many it gets per call."""

    runtime: Runtime
    preprocessing: Preprocessing
    batch_size: int

    def run(
        self,
        images: Iterable[NDArray[np.uint8]],
        output: Literal["logits", "embedding"],
        *,
        total: int,
    ) -> NDArray[np.float32]:
        """Return one output of the model for every image ``(N, ...)``, in their order."""
        name, inputs, outputs = self.runtime.inputs[0].name, map(self.preprocessing, images), []
        doing = f"running {self.runtime.name} on {total} images"
        with progress(doing, total=total) as advance:
            while batch := list(itertools.islice(inputs, self.batch_size)):
                outputs.append(self.runtime.run({name: np.stack(batch)})[output])
                advance(len(batch))
        return np.concatenate(outputs) if outputs else np.empty((0, 0), np.float32)


def measure_performance(
    model: BatchedModel, name: str, dataset: Dataset, *, whole: bool
) -> Performance:
    """Measure a model over a dataset; if annotators voted, the loss is that of their votes.

    Args:
        name: What the dataset is called in the report.
        whole: Whether it is all that its folder has; a part of a published dataset is other data.
    """
    images = (sample.pixels() for sample in dataset.samples)
    probabilities = softmax(model.run(images, "logits", total=len(dataset.samples)))
    metrics = compute_sample_metrics(dataset.samples, probabilities, dataset.labels)
    parts = (dataset.split,) if dataset.split else ()
    published = published_results(
        dataset.format if whole else None, splits=parts, labels=dataset.labels
    )
    return Performance(
        dataset=name,
        dataset_format=dataset.format,
        metrics=metrics,
        published=published,
        standings=compare_with_published(metrics, published),
        unreadable=dataset.unreadable,
        skipped=dataset.skipped,
        left_out=str(dataset.left_out),
    )


def compare_with_published(
    ours: ClassificationMetrics, published: Sequence[PublishedResult]
) -> dict[str, Standing]:
    """Return by name where our metrics are among the published ones.

    They are compared with those of the same dataset alone if there are any.
    """
    standings = {}
    for name in dict.fromkeys(name for result in published for name in result.metrics):
        value = getattr(ours, name)
        if value is None:
            continue
        having = [result for result in published if name in result.metrics]
        same = [result for result in having if result.same_data]
        compared = same or having
        values = [result.metrics[name] for result in compared]
        lowest, highest = min(values), max(values)
        standings[name] = Standing(
            place="below" if value < lowest else "above" if value > highest else "within",
            ours=value,
            lowest=lowest,
            highest=highest,
            datasets=tuple(dict.fromkeys(result.dataset for result in compared)),
            same_data=bool(same),
        )
    return standings
