"""How accurate an artifact is on labelled images, for any of its runtimes and for PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact.manifest import ModelIdentity
from motivnet.datasets.read import EVALUATED, read_dataset
from motivnet.datasets.sample import Sample, SplitName
from motivnet.metrics import (
    ClassificationMetrics,
    PublishedResult,
    compute_sample_metrics,
    published_results,
)
from motivnet.prediction import softmax
from motivnet.runtime import Runtime
from motivnet.schema import Schema
from motivnet.terminal import progress
from motivnet_bench.target import Target, open_pytorch, pytorch_input
from motivnet_engines.runtimes.registry import open_backend
from motivnet_engines.runtimes.selection import default_runtime, warn_of_untrained
from motivnet_engines.runtimes.signature import batch_from_images, profile_of

PYTORCH = "pytorch"


class RuntimeAccuracy(Schema, frozen=True, kw_only=True):
    """The metrics of one runtime; ``compute`` is the dtype in which it multiplies matrices."""

    runtime: str
    compute: str
    metrics: ClassificationMetrics


class Flip(Schema, frozen=True, kw_only=True):
    """An image that two runtimes label differently; ``image`` is its path in the dataset."""

    image: str
    truth: str
    predicted: dict[str, str]


class AccuracyResult(Schema, frozen=True, kw_only=True):
    """The metrics of every runtime over the same images, beside the published ones.

    ``dataset_format`` names what the dataset was recognised as; it decides whether the published
    metrics are of the same data. ``model`` identifies the weights. ``skipped`` counts by reason the
    files that were left out; ``unreadable`` names those of them that are in a class folder. The
    metrics cover none of them.
    """

    format_version: Literal[1] = 1
    kind: Literal["accuracy"] = "accuracy"
    artifact: str
    model: ModelIdentity | None = None
    dataset: str
    dataset_format: str
    split: SplitName | None
    labels: tuple[str, ...]
    runtimes: tuple[RuntimeAccuracy, ...]
    published: tuple[PublishedResult, ...]
    flips: tuple[Flip, ...]
    unreadable: dict[str, str]
    skipped: dict[str, int]


def measure_accuracy(
    target: Target,
    dataset: Path,
    *,
    runtimes: Sequence[str] = (),
    trust_engines: bool = False,
    limit: int | None = None,
    threads: int | None = None,
    allow_outside: bool = False,
) -> AccuracyResult:
    """Measure runtimes over a dataset, each image preprocessed as the artifact says.

    Of a dataset with splits only the test split is used, or the validation split if there is none.
    If annotators voted, the loss is that of their votes.

    Args:
        runtimes: Names of runtimes, ``pytorch`` for the FP32 model; none for the artifact's default
            runtime.
        trust_engines: Whether the default may be an engine that this user did not build here.
        limit: Images per class at most, the first in order of path.
        allow_outside: Whether a list may name images outside its folder.

    Raises:
        DatasetError: If the folder has no image that can be read, or many that cannot.
        RuntimeUnavailableError: If a runtime cannot be opened.
    """
    labels, source = target.artifact.manifest.labels, target.artifact.manifest.source
    found = read_dataset(
        dataset, labels=labels, splits=EVALUATED, limit=limit, allow_outside=allow_outside
    )
    samples = found.samples
    warn_of_untrained(target.artifact)
    names = runtimes or [default_runtime(target.artifact, trust_engines=trust_engines)]
    results: list[RuntimeAccuracy] = []
    probabilities: dict[str, NDArray[np.float64]] = {}
    for name in dict.fromkeys(names):
        if name == PYTORCH:
            opened: Runtime = open_pytorch(
                target.checkpoint, source.config, ema=source.ema, threads=threads
            )
        else:
            opened = open_backend(name, target.artifact, threads=threads)
        with opened as runtime:
            probabilities[name] = softmax(logits_of_samples(target, runtime, name, samples))
            metrics = compute_sample_metrics(samples, probabilities[name], labels)
            results.append(RuntimeAccuracy(runtime=name, compute=runtime.compute, metrics=metrics))
    return AccuracyResult(
        artifact=target.name,
        model=target.artifact.manifest.model_identity(),
        dataset=dataset.resolve().name,
        dataset_format=found.format,
        split=found.split,
        labels=labels,
        runtimes=tuple(results),
        published=published_results(
            found.format if limit is None else None,  # some images of a split are other data
            splits=(found.split,) if found.split else (),
            labels=labels,
        ),
        flips=find_flips(probabilities, samples, labels=labels),
        unreadable=found.unreadable,
        skipped=found.skipped,
    )


def find_flips(
    probabilities: Mapping[str, NDArray[np.float64]],
    samples: Sequence[Sample],
    *,
    labels: tuple[str, ...],
) -> tuple[Flip, ...]:
    """Return the samples that get different labels by the probabilities ``(N, classes)``."""
    classes = {name: values.argmax(axis=1) for name, values in probabilities.items()}
    flips = []
    for index, sample in enumerate(samples):
        predicted = {name: labels[int(values[index])] for name, values in classes.items()}
        if len(set(predicted.values())) > 1:
            flips.append(Flip(image=sample.name, truth=labels[sample.label], predicted=predicted))
    return tuple(flips)


def logits_of_samples(
    target: Target, runtime: Runtime, name: str, samples: Sequence[Sample]
) -> NDArray[np.float32]:
    """Return the logits ``(N, classes)`` of the samples, one at a time as on a device."""
    manifest = target.artifact.manifest
    entry = pytorch_input(manifest.input) if name == PYTORCH else manifest.input
    profile = profile_of(manifest, name)
    logits = []
    with progress(f"running {name} on {len(samples)} images", total=len(samples)) as advance:
        for sample in samples:
            batch = batch_from_images(entry, [sample.pixels()], profile=profile)
            logits.append(runtime.run({runtime.inputs[0].name: batch})["logits"])
            advance(1)
    return np.concatenate(logits)
