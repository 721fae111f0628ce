"""How right an artifact is on labelled images, for any of its runtimes and for PyTorch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact.manifest import InputEntry, ShapeProfile
from motivnet.datasets.published import published_results
from motivnet.datasets.read import JUDGED, read_dataset
from motivnet.datasets.sample import Sample
from motivnet.datasets.sample_metrics import figures_of
from motivnet.errors import ConfigError
from motivnet.prediction import softmax
from motivnet.progress import Advance, progress
from motivnet.runtime import Runtime
from motivnet_bench.accuracy_result import PYTORCH, AccuracyResult, Flip, RuntimeAccuracy
from motivnet_bench.latency.inputs import pytorch_entry
from motivnet_bench.latency.target import Subject
from motivnet_engines.runtimes.inputs import batch_from_images, profile_of
from motivnet_engines.runtimes.registry import default_runtime, open_backend


def measure_accuracy(
    subject: Subject,
    dataset: Path,
    *,
    runtimes: Sequence[str] = (),
    trust_engines: bool = False,
    limit: int | None = None,
    threads: int | None = None,
    allow_outside: bool = False,
) -> AccuracyResult:
    """The figures of the runtimes over a dataset, each image through the artifact's recipe.

    Of a dataset with parts only the test part, else the validation part, is taken. Where people
    voted, the loss is that of their votes.

    Args:
        runtimes: Names of runtimes, ``pytorch`` for the FP32 model; none for the artifact's default
        runtime.
        trust_engines: Whether the default may be an engine that this user did not build here.
        limit: Images a class at most, the first in order of path.
        allow_outside: Whether a list may name images outside its folder.

    Raises:
        ConfigError: If ``limit`` is below 1.
        DatasetError: If the folder has no image that can be read, or many that cannot.
        RuntimeUnavailableError: If a runtime cannot be had.
    """
    manifest = subject.artifact.manifest
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit must be at least 1, not {limit}")
    found = read_dataset(
        dataset, labels=manifest.labels, parts=JUDGED, limit=limit, allow_outside=allow_outside
    )
    samples = found.samples
    names = tuple(dict.fromkeys(runtimes)) or (
        default_runtime(subject.artifact, trust_engines=trust_engines),
    )
    opened = {name: _probabilities(subject, name, samples, threads) for name in names}
    return AccuracyResult(
        artifact=subject.name,
        dataset=dataset.resolve().name,
        layout=found.layout,
        part=found.part,
        labels=manifest.labels,
        runtimes=tuple(_entry(name, *opened[name], samples, manifest.labels) for name in names),
        published=published_results(
            found.layout if limit is None else None,  # some images of a part are other data
            parts=(found.part,) if found.part else (),
            labels=manifest.labels,
        ),
        flips=flips_between(
            {name: probabilities for name, (_, probabilities) in opened.items()},
            samples,
            labels=manifest.labels,
        ),
        unreadable=found.unreadable,
        skipped=found.skipped,
    )


def _entry(
    name: str,
    compute: str,
    probabilities: NDArray[np.float64],
    samples: Sequence[Sample],
    labels: tuple[str, ...],
) -> RuntimeAccuracy:
    return RuntimeAccuracy(
        runtime=name, compute=compute, figures=figures_of(samples, probabilities, labels)
    )


def flips_between(
    by_runtime: Mapping[str, NDArray[np.float64]],
    samples: Sequence[Sample],
    *,
    labels: tuple[str, ...],
) -> tuple[Flip, ...]:
    """The samples to which the runtimes, each with its probabilities ``(N, classes)``, give different labels."""
    predicted = {name: probabilities.argmax(axis=1) for name, probabilities in by_runtime.items()}
    flips = []
    for index, sample in enumerate(samples):
        named = {name: labels[int(classes[index])] for name, classes in predicted.items()}
        if len(set(named.values())) > 1:
            flips.append(Flip(image=sample.name, truth=labels[sample.label], predicted=named))
    return tuple(flips)


def _probabilities(
    subject: Subject, name: str, samples: Sequence[Sample], threads: int | None
) -> tuple[str, NDArray[np.float64]]:
    manifest = subject.artifact.manifest
    entry = pytorch_entry(manifest.input) if name == PYTORCH else manifest.input
    profile = profile_of(manifest, name)
    with (
        _open(subject, name, threads) as runtime,
        progress(f"running {name}", total=len(samples)) as advance,
    ):
        return runtime.compute, softmax(
            np.concatenate(list(_logits(runtime, entry, profile, samples, advance)))
        )


def _logits(
    runtime: Runtime,
    entry: InputEntry,
    profile: ShapeProfile | None,
    samples: Sequence[Sample],
    advance: Advance,
) -> Iterator[NDArray[np.float32]]:
    for sample in samples:
        batch: NDArray[Any] = batch_from_images(entry, [sample.pixels()], profile=profile)
        yield runtime.run({runtime.inputs[0].name: batch})["logits"]
        advance(1)


def _open(
    subject: Subject, name: str, threads: int | None
) -> contextlib.AbstractContextManager[Runtime]:
    if name != PYTORCH:
        return open_backend(name, subject.artifact, threads=threads)
    from motivnet.checkpoints import load_model
    from motivnet.model import build_model
    from motivnet.model.runtime import TorchRuntime

    config = subject.artifact.manifest.source.config
    model = (
        build_model(config, seed=0)
        if subject.checkpoint is None
        else load_model(subject.checkpoint, config)
    )
    return TorchRuntime(model, config=config, threads=threads)
