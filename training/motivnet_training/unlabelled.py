"""Images without labels, for a head that learns from a model's own answers."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motivnet.datasets.check import MAX_UNREADABLE, check_readable, find_duplicates
from motivnet.datasets.class_folders import SPLITS
from motivnet.datasets.image_folders import subfolders, walk_images
from motivnet.datasets.left_out import Tally, tally
from motivnet.datasets.read import CLASS_FOLDERS, read_dataset, recognise
from motivnet.datasets.sample import Dataset, Sample, SplitName
from motivnet.datasets.sampling import hold_out
from motivnet.datasets.split import Split
from motivnet.errors import DatasetError, FileError
from motivnet.path_kind import is_folder
from motivnet.prediction import softmax

logger = logging.getLogger(__name__)

_FORMAT = "images without labels"


def holds_images_alone(path: Path, labels: tuple[str, ...]) -> bool:
    """Return whether a path is a folder of image files with no folder in it, and of no dataset."""
    if not is_folder(path) or subfolders(path) or not walk_images(path).files:
        return False
    return _known_format(path, labels) is None


def read_unlabelled(
    path: Path, *, labels: tuple[str, ...], seed: int, validation_share: float, allow_outside: bool
) -> tuple[Dataset, Split]:
    """Return all images of a folder or dataset, and which to train and to validate on.

    Folders named as splits are kept as such; without one to validate on, a share is held out.
    Every sample has the label 0 until ``with_answers`` gives it another.

    Raises:
        DatasetError: If there are too few readable images.
        FileError: If a folder cannot be read.
    """
    dataset = _read(path, labels, allow_outside=allow_outside)
    checked = check_readable(dataset.samples)
    checked.refuse_many_unreadable(max_share=MAX_UNREADABLE)
    parts: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
    for sample in checked.readable(dataset.samples):
        parts[sample.split or "train"].append(sample)
    if not parts["train"]:
        raise DatasetError(f"{path} holds no readable image to train on; give a folder of images")
    training, validation = tuple(parts["train"]), tuple(parts["val"])
    if not validation:
        if len(training) == 1:
            raise DatasetError(f"{path} holds one readable image; give two at least")
        training, validation = hold_out(
            training, share=validation_share, seed=seed, stratified=False
        )
    test = tuple(parts["test"])
    duplicates = find_duplicates((test, validation, training), digests=checked.digests)
    leaked = {first for first, _ in duplicates}
    unique = tuple(each for each in training if each.name not in leaked)
    left_out = checked.left_out() | Tally(
        {"same image as in another split": len(training) - len(unique)}
    )
    if left_out.counts:
        logger.warning("%s: left out %s", path, left_out)
    if not unique:
        raise DatasetError(f"{path} holds one image many times; give different ones")
    return dataset, Split(
        training=unique,
        validation=validation,
        test=test,
        skipped=(dataset.left_out | left_out).counts,
        unreadable=dict(sorted(checked.unreadable.items())),
        duplicates=duplicates,
        digests={each.name: checked.digests[each.name] for each in (*unique, *validation, *test)},
    )


def with_answers(samples: Sequence[Sample], logits: NDArray[np.float32]) -> tuple[Sample, ...]:
    """Return the samples with a model's answers ``(N, classes)`` as what people voted."""
    return tuple(
        dataclasses.replace(sample, label=int(row.argmax()), distribution=tuple(row.tolist()))
        for sample, row in zip(samples, softmax(logits), strict=True)
    )


def _read(path: Path, labels: tuple[str, ...], *, allow_outside: bool) -> Dataset:
    if _known_format(path, labels) not in (None, CLASS_FOLDERS) or not is_folder(path):
        return read_dataset(path, labels=labels, check=False, allow_outside=allow_outside)
    found = walk_images(path)
    found.refuse_unreadable()
    found.warn()
    samples = tuple(
        Sample(
            name=file.relative_to(path).as_posix(),
            image=file,
            label=0,
            split=_split_of(file.relative_to(path)),
        )
        for file in found.files
    )
    return Dataset(
        format=_FORMAT,
        root=path,
        labels=labels,
        samples=samples,
        left_out=tally(found.left_out, hidden=found.rubbish),
    )


def _split_of(file: Path) -> SplitName | None:
    named = (SPLITS[part.casefold()] for part in file.parts[:-1] if part.casefold() in SPLITS)
    return next(named, None)


def _known_format(path: Path, labels: tuple[str, ...]) -> str | None:
    try:
        return recognise(path, labels=labels)[0]
    except (DatasetError, FileError):
        return None
