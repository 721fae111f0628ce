"""What is said of a training: in its checkpoints while it runs, and in its folder when it has ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from motivnet import strict_json
from motivnet.checkpoints import load_model
from motivnet.files import write_atomic
from motivnet_training.datasets.sample import Dataset, Sample
from motivnet_training.datasets.split import Split
from motivnet_training.evaluation import evaluate
from motivnet_training.fit_request import FitRequest
from motivnet_training.hardware import is_first_process
from motivnet_training.history import best_of, csv_from_history
from motivnet_training.metrics import ClassificationFigures
from motivnet_training.plots import write_confusion, write_curves
from motivnet_training.published_layout import write_published
from motivnet_training.recipe_file import yaml_from_recipe
from motivnet_training.result import DataCounts, TrainingResult
from motivnet_training.session import Session
from motivnet_training.state import Position


def data_counts(dataset: Dataset, split: Split, *, labels: tuple[str, ...]) -> DataCounts:
    """What a training stands on, in numbers."""
    by_label = Counter(sample.label for sample in split.training)
    return DataCounts(
        dataset=dataset.root.resolve().name,
        layout=dataset.layout,
        labels=labels,
        training_images=len(split.training),
        validation_images=len(split.validation),
        test_images=len(split.test),
        images={label: by_label[index] for index, label in enumerate(labels)},
        skipped=split.skipped,
        unreadable=split.unreadable,
        duplicates=split.duplicates,
    )


def metadata_of(request: FitRequest, data: DataCounts) -> dict[str, str]:
    """What a checkpoint says of its making, as texts."""
    return {
        "dataset": data.dataset,
        "layout": data.layout,
        "training_images": str(data.training_images),
        "validation_images": str(data.validation_images),
        "images_by_label": strict_json.dumps(data.images).decode(),
        "seed": str(request.seed),
        "processes": str(request.hardware.processes),
        "encoder": request.encoder.name if request.encoder else "random weights",
        "training_recipe": yaml_from_recipe(request.recipe),
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
        seconds=time.monotonic() - started,
    )


def write_outcome(request: FitRequest, session: Session, position: Position, result: TrainingResult) -> None:
    """The last weights, the published layout if asked for, the table of epochs, two pictures, and the summary last.

    Raises:
        FileError: If one of them cannot be written.
    """
    folder = request.folder
    state = {f"model.{name}": tensor for name, tensor in session.model.state_dict().items()}
    session.keeper.write(folder.last, state, position.history[-1])
    if request.published:
        write_published(load_model(folder.best), folder.published)
    write_atomic(folder.metrics, csv_from_history(position.history).encode())
    write_curves(folder.curves, position.history)
    figures, part = (result.validation, "validation") if result.test is None else (result.test, "test")
    title = f"{part}: {figures.accuracy:.1%} of {figures.images} images"
    write_confusion(folder.confusion, figures, result.data.labels, title=title)
    write_atomic(folder.summary, strict_json.dumps(result))


def _test_figures(request: FitRequest, test: Sequence[Sample]) -> ClassificationFigures:
    model = load_model(request.folder.best)
    return evaluate(
        model, test, preprocess=request.preprocess, labels=request.labels, batch_size=request.recipe.batch_size
    )
