"""What is said of a training: in its checkpoints while it runs, and in its folder when it has ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from motivnet import __version__, strict_json
from motivnet.checkpoints import load_model
from motivnet.datasets.published import PublishedResult, published_results
from motivnet.datasets.sample import Dataset, Sample
from motivnet.datasets.split import Split
from motivnet.files import sha256_of, write_atomic
from motivnet.metrics import ClassificationFigures
from motivnet_training.devices import is_first_process
from motivnet_training.evaluation import evaluate
from motivnet_training.fit_request import FitRequest
from motivnet_training.history import best_of, csv_from_history
from motivnet_training.plots import write_confusion, write_curves
from motivnet_training.published_layout import write_published
from motivnet_training.recipe_file import yaml_from_recipe
from motivnet_training.result import DataCounts, TrainingResult
from motivnet_training.session import Session
from motivnet_training.state import Position

_PACKAGES = ("torch", "lightning")


def data_counts(dataset: Dataset, split: Split, *, labels: tuple[str, ...]) -> DataCounts:
    """What a training stands on, in numbers."""
    held_out = [sample for sample in split.validation if sample.part != "val"]
    return DataCounts(
        dataset=dataset.root.resolve().name,
        layout=dataset.layout,
        labels=labels,
        training_images=len(split.training),
        validation_images=len(split.validation),
        test_images=len(split.test),
        images=_by_label(split.training, labels),
        drawn=_by_label([*split.training, *held_out], labels),
        skipped=split.skipped,
        unreadable=split.unreadable,
        duplicates=split.duplicates,
    )


def metadata_of(
    request: FitRequest, data: DataCounts, *, encoder_sha256: str | None = None
) -> dict[str, str]:
    """What a checkpoint says of its making, as texts; of a table, as JSON.

    Args:
        encoder_sha256: Of the encoder's file, where it was computed before.
    """
    if encoder_sha256 is None:
        encoder_sha256 = sha256_of(request.encoder) if request.encoder else "none"
    return {
        **_data_texts(data),
        "seed": str(request.seed),
        "encoder": request.encoder.name if request.encoder else "random weights",
        "encoder_sha256": encoder_sha256,
        "training_recipe": yaml_from_recipe(request.recipe),
        "precision": request.recipe.precision,
        "strategy": request.hardware.strategy,
        "devices": str(request.hardware.devices),
        "nodes": str(request.hardware.nodes),
        "processes": str(request.hardware.processes),
        "versions": _table({"motivnet": __version__} | {name: version(name) for name in _PACKAGES}),
    }


def result_of(
    request: FitRequest,
    position: Position,
    data: DataCounts,
    *,
    test: Sequence[Sample],
    started: float,
) -> TrainingResult:
    """The figures of the best weights, with those of the test images where the dataset has a test part."""
    if position.best is None:
        raise ValueError("a training that has ended has a best epoch")
    return TrainingResult(
        checkpoint=str(request.folder.best),
        recipe=request.recipe.name,
        seed=request.seed,
        data=data,
        epoch=best_of(position.history).epoch,
        epochs=len(position.history),
        validation=position.best,
        test=_test_figures(request, test) if test and is_first_process() else None,
        history=position.history,
        published=_published(data, request.labels, has_test=bool(test)),
        seconds=time.monotonic() - started,
    )


def write_outcome(
    request: FitRequest, session: Session, position: Position, result: TrainingResult
) -> None:
    """The last weights, the published layout if asked for, the table of epochs, two pictures, and
    the summary last.

    Raises:
        FileError: If one of them cannot be written.
    """
    folder = request.folder
    session.keeper.write(folder.last, session.model, position.history[-1])
    if request.published:
        write_published(load_model(folder.best), folder.published)
    write_atomic(folder.metrics, csv_from_history(position.history).encode())
    write_curves(folder.curves, position.history)
    figures, part = (
        (result.validation, "validation") if result.test is None else (result.test, "test")
    )
    title = f"{part}: {figures.accuracy:.1%} of {figures.images} images"
    write_confusion(folder.confusion, figures, result.data.labels, title=title)
    write_atomic(
        folder.summary, strict_json.dumps(result, errors="replace")
    )  # names may be any bytes


def _by_label(samples: Sequence[Sample], labels: tuple[str, ...]) -> dict[str, int]:
    counts = Counter(sample.label for sample in samples)
    return {label: counts[index] for index, label in enumerate(labels)}


def _data_texts(data: DataCounts) -> dict[str, str]:
    return {
        "dataset": data.dataset,
        "layout": data.layout,
        "training_images": str(data.training_images),
        "validation_images": str(data.validation_images),
        "test_images": str(data.test_images),
        "images_by_label": _table(data.images),
        "drawn_by_label": _table(data.drawn),
        "skipped": _table(data.skipped),
        "unreadable": str(len(data.unreadable)),
        "duplicates": str(len(data.duplicates)),
    }


def _table(values: Mapping[str, object]) -> str:
    return strict_json.dumps(values, errors="replace").decode()


def _published(
    data: DataCounts, labels: tuple[str, ...], *, has_test: bool
) -> tuple[PublishedResult, ...]:
    """The paper's figures are of test parts: images that were held out of the training part are other data."""
    return published_results(data.layout if has_test else None, parts=("test",), labels=labels)


def _test_figures(request: FitRequest, test: Sequence[Sample]) -> ClassificationFigures:
    model = load_model(request.folder.best)
    return evaluate(
        model,
        test,
        preprocess=request.preprocess,
        labels=request.labels,
        batch_size=request.recipe.batch_size,
        device=request.hardware.torch_device,
    )
