"""Predictions for files and folders of images, where one that cannot be read does not stop the others."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from motivnet.errors import FileError, ImageError
from motivnet.images import IMAGE_SUFFIXES, read_image
from motivnet.prediction import Prediction
from motivnet_engines.classifier import EmotionClassifier


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """What became of one file: a prediction, or the reason why there is none."""

    path: Path
    prediction: Prediction | None
    error: str | None


def image_paths(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The files given, with each folder replaced by the images below it in order of their names.

    Hidden files and folders are left out. A path that is neither is kept, for its reader to refuse.

    Raises:
        FileError: If a folder holds no image.
    """
    return tuple(itertools.chain.from_iterable(_expanded(path) for path in paths))


def predict_files(
    classifier: EmotionClassifier, paths: Iterable[Path], *, on_files: Callable[[int], object] | None = None
) -> Iterator[FileResult]:
    """One result per path, in order; ``on_files`` hears how many were finished, batch by batch."""
    remaining = iter(paths)
    while batch := list(itertools.islice(remaining, classifier.batch_size)):
        yield from _predict_batch(classifier, batch)
        if on_files is not None:
            on_files(len(batch))


def _predict_batch(classifier: EmotionClassifier, batch: list[Path]) -> list[FileResult]:
    images, errors = {}, {}
    for index, path in enumerate(batch):
        try:
            images[index] = read_image(path)
        except (FileError, ImageError) as error:
            errors[index] = str(error)
    predictions = dict(zip(images, classifier.predict(list(images.values())), strict=True))
    return [
        FileResult(path=path, prediction=predictions.get(index), error=errors.get(index))
        for index, path in enumerate(batch)
    ]


def _expanded(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in IMAGE_SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not found:
        raise FileError(f"{path} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return found
