"""What is said about a training: in its checkpoints, and in its folder when it has ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from motivnet import __version__
from motivnet.checkpoints import load_model
from motivnet.checkpoints.key_maps import published_from_model
from motivnet.checkpoints.torch_files import write_archive
from motivnet.datasets.sample import Dataset, Sample
from motivnet.datasets.split import Split
from motivnet.files import atomic_path, write_atomic
from motivnet.metrics import (
    ClassificationMetrics,
    PublishedResult,
    compute_sample_metrics,
    published_results,
)
from motivnet.model import MotivNet
from motivnet.prediction import softmax
from motivnet.preprocess import Preprocessing
from motivnet.schema import Schema, encode
from motivnet.terminal import progress
from motivnet_training.batch_sampler import BatchSampler
from motivnet_training.data import ImageInputs
from motivnet_training.devices import is_first_process
from motivnet_training.fit_request import FitRequest
from motivnet_training.history import History, best_epoch
from motivnet_training.plots import write_confusion, write_curves
from motivnet_training.recipe_file import yaml_from_recipe
from motivnet_training.training_state import TrainingProgress

_PACKAGES = ("torch", "lightning-fabric")


class DataCounts(Schema, frozen=True, kw_only=True):
    """What was trained and evaluated on.

    ``images`` counts the training images by label, ``drawn`` those and the ones held out of them to
    validate on; ``skipped`` counts what was left out by reason; ``unreadable`` has the reason by
    name, ``duplicates`` the names of equal images in different splits.
    """

    dataset: str
    format: str
    labels: tuple[str, ...]
    training_images: int
    validation_images: int
    test_images: int
    images: dict[str, int]
    drawn: dict[str, int]
    skipped: dict[str, int]
    unreadable: dict[str, str]
    duplicates: tuple[tuple[str, str], ...]


class TrainingSummary(Schema, frozen=True, kw_only=True):
    """A training that has ended.

    ``validation`` and ``test`` are the metrics of the checkpoint, ``published`` those of the paper;
    ``seconds`` are those of this process.
    """

    format_version: Literal[1] = 1
    kind: Literal["training"] = "training"
    checkpoint: str
    recipe: str
    seed: int
    data: DataCounts
    epoch: int
    epochs: int
    validation: ClassificationMetrics
    test: ClassificationMetrics | None
    history: History
    published: tuple[PublishedResult, ...]
    seconds: float


def count_data(dataset: Dataset, split: Split, *, labels: tuple[str, ...]) -> DataCounts:
    """Return what a training stands on, in numbers."""
    held_out = [sample for sample in split.validation if sample.split != "val"]
    return DataCounts(
        dataset=dataset.root.resolve().name,
        format=dataset.format,
        labels=labels,
        training_images=len(split.training),
        validation_images=len(split.validation),
        test_images=len(split.test),
        images=_count_labels(split.training, labels),
        drawn=_count_labels([*split.training, *held_out], labels),
        skipped=split.skipped,
        unreadable=split.unreadable,
        duplicates=split.duplicates,
    )


def describe_training(
    request: FitRequest, data: DataCounts, *, encoder_sha256: str
) -> dict[str, str]:
    """Return what a checkpoint says about its making, as texts; tables are JSON."""
    return {
        "dataset": data.dataset,
        "format": data.format,
        "training_images": str(data.training_images),
        "validation_images": str(data.validation_images),
        "test_images": str(data.test_images),
        "images_by_label": _json(data.images),
        "drawn_by_label": _json(data.drawn),
        "skipped": _json(data.skipped),
        "unreadable": str(len(data.unreadable)),
        "duplicates": str(len(data.duplicates)),
        "seed": str(request.seed),
        "encoder": request.encoder.name if request.encoder else "random weights",
        "encoder_sha256": encoder_sha256,
        "encoder_ema": str(request.ema).lower(),
        "training_recipe": yaml_from_recipe(request.recipe),
        "precision": request.recipe.precision,
        "strategy": request.devices.strategy,
        "devices": str(request.devices.devices),
        "nodes": str(request.devices.nodes),
        "processes": str(request.devices.processes),
        "versions": _json({"motivnet": __version__} | {name: version(name) for name in _PACKAGES}),
    }


def summarise(
    request: FitRequest,
    reached: TrainingProgress,
    data: DataCounts,
    *,
    test: Sequence[Sample],
    started: float,
) -> TrainingSummary:
    """Return the metrics of the best weights, on the test images too if the dataset has any."""
    if reached.best is None:
        raise ValueError("a training that has ended has a best epoch")
    test_metrics = None
    if test and is_first_process():
        test_metrics = evaluate(
            load_model(request.folder.best),
            test,
            preprocess=request.preprocess,
            labels=data.labels,
            batch_size=request.recipe.batch_size,
            device=request.devices.single_device,
        )
    # The paper's metrics are of test splits: images held out of the training split are other data.
    published = published_results(
        data.format if test else None, splits=("test",), labels=data.labels
    )
    return TrainingSummary(
        checkpoint=str(request.folder.best),
        recipe=request.recipe.name,
        seed=request.seed,
        data=data,
        epoch=best_epoch(reached.history).epoch,
        epochs=len(reached.history),
        validation=reached.best,
        test=test_metrics,
        history=reached.history,
        published=published,
        seconds=time.monotonic() - started,
    )


def write_summary(request: FitRequest, summary: TrainingSummary) -> None:
    """Write the published layout if asked for, two plots, and the summary last.

    Raises:
        FileError: If one of them cannot be written.
    """
    folder = request.folder
    if request.published:
        write_published(load_model(folder.best), folder.published)
    write_curves(folder.curves, summary.history)
    metrics, name = summary.validation, "validation"
    if summary.test is not None:
        metrics, name = summary.test, "test"
    title = f"{name}: {metrics.accuracy:.1%} of {metrics.images} images"
    write_confusion(folder.confusion, metrics, summary.data.labels, title=title)
    write_atomic(folder.summary, encode(summary, errors="replace"))  # names may be any bytes


def write_published(model: MotivNet, path: Path) -> None:
    """Write the weights under the names of the published ``MotivNet.pth``, whole or not at all.

    Raises:
        FileError: If the file cannot be written.
    """
    published = published_from_model(model.state_dict())
    with atomic_path(path) as temporary:
        write_archive({name: each.contiguous() for name, each in published.items()}, temporary)


def evaluate(
    model: MotivNet,
    samples: Sequence[Sample],
    *,
    preprocess: Preprocessing,
    labels: tuple[str, ...],
    batch_size: int,
    device: str = "cpu",
) -> ClassificationMetrics:
    """Return the metrics of a model on labelled images; the loss is that of votes where given."""
    inputs = ImageInputs(samples=samples, preprocess=preprocess)
    model = model.eval().to(device)
    parts = []
    with torch.inference_mode(), progress("testing", total=len(samples)) as advance:
        for keys in BatchSampler(count=len(samples), batch_size=batch_size):
            parts.append(model(inputs.batch(keys).to(device)).float().cpu().numpy())
            advance(len(keys))
    return compute_sample_metrics(samples, softmax(np.concatenate(parts)), labels)


def _count_labels(samples: Sequence[Sample], labels: tuple[str, ...]) -> dict[str, int]:
    counts = Counter(sample.label for sample in samples)
    return {label: counts[index] for index, label in enumerate(labels)}


def _json(values: Mapping[str, object]) -> str:
    return encode(values, errors="replace").decode()
