"""Images with labels or without, for a model that learns from another one's answers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motivnet.datasets import class_folders
from motivnet.datasets.class_folders import SPLITS, beside
from motivnet.datasets.image_folders import subfolders, walk_images
from motivnet.datasets.left_out import tally
from motivnet.datasets.read import CLASS_FOLDERS, read_dataset, recognise
from motivnet.datasets.sample import Dataset, Sample
from motivnet.datasets.split import Split, split_dataset
from motivnet.errors import DatasetError, FileError
from motivnet.path_kind import is_folder
from motivnet.prediction import softmax

logger = logging.getLogger(__name__)

NO_LABEL = "no label"
PLAIN = "folder of images"

Samples = tuple[Sample, ...]


def holds_images_alone(path: Path, labels: tuple[str, ...]) -> bool:
    """Return whether a path is a folder of image files with no folder in it, and of no dataset."""
    if not is_folder(path) or subfolders(path) or not walk_images(path).files:
        return False
    return _known_format(path, labels) is None


def read_every_image(
    data: Path, *, names: tuple[str, ...], seed: int, validation_share: float, allow_outside: bool
) -> tuple[Dataset, Split]:
    """Return all images of any folder or dataset, split as ``fit`` splits them.

    Every readable image of a folder is used: one that is in no class folder, or in one of another
    name than a class, has no label. What is left out is logged.

    Args:
        names: The labels, and last the one for an image without a label.
        validation_share: Of the images to hold out, if the dataset has no validation split.

    Raises:
        DatasetError: If there are too few images, or too many of them are unreadable.
        FileError: If a folder or a list cannot be read.
    """
    dataset = _read(data, names, allow_outside=allow_outside)
    # Only what can be trained on has to occur, and what learns from answers needs no class.
    occurring = sorted({each.label for each in dataset.samples if each.split in (None, "train")})
    if not occurring:
        raise DatasetError(f"{data} holds no image to train on; give a folder of images")
    order = occurring + sorted({each.label for each in dataset.samples} - set(occurring))
    split = split_dataset(
        replace(
            dataset,
            samples=tuple(replace(each, label=order.index(each.label)) for each in dataset.samples),
            labels=tuple(names[label] for label in occurring),
        ),
        seed=seed,
        validation_share=validation_share,
        stratified=True,
    )

    def labelled(samples: Samples) -> Samples:
        return tuple(replace(each, label=order[each.label]) for each in samples)

    return dataset, replace(
        split,
        training=labelled(split.training),
        validation=labelled(split.validation),
        test=labelled(split.test),
    )


def with_answers(samples: Sequence[Sample], logits: NDArray[np.float32]) -> Samples:
    """Return the samples with a model's answers ``(N, classes)`` as what people voted."""
    return tuple(
        replace(sample, label=int(row.argmax()), distribution=tuple(row.tolist()))
        for sample, row in zip(samples, softmax(logits), strict=True)
    )


def _read(data: Path, names: tuple[str, ...], *, allow_outside: bool) -> Dataset:
    """Return all images; the last of ``names`` stands for an image without a label."""
    labels = names[:-1]
    try:
        found, root = recognise(data, labels=labels)
    except DatasetError:
        if not is_folder(data) or not walk_images(data).files:
            raise
        found, root = PLAIN, data
    if found not in (PLAIN, CLASS_FOLDERS):
        dataset = read_dataset(data, labels=labels, check=False, allow_outside=allow_outside)
        return replace(dataset, labels=names)
    labelled = class_folders.read(root, labels=labels).samples if found == CLASS_FOLDERS else ()
    walked = walk_images(root)
    walked.refuse_unreadable()
    left_out = tally((*walked.left_out, *beside(data, root)), hidden=walked.rubbish)
    if left_out.counts:
        logger.warning("%s: left out %s", data, left_out)
    known = {sample.image for sample in labelled}
    bare = tuple(_bare(root, [each for each in walked.files if each not in known], len(labels)))
    return Dataset(
        format=found, root=data, labels=names, samples=(*labelled, *bare), left_out=left_out
    )


def _bare(root: Path, files: Sequence[Path], label: int) -> Iterator[Sample]:
    """Yield samples without a label; the folder of a split still says which one they are of."""
    for file in files:
        relative = file.relative_to(root)
        splits = [SPLITS[part.casefold()] for part in relative.parts if part.casefold() in SPLITS]
        split = splits[0] if splits else None
        yield Sample(name=relative.as_posix(), image=file, label=label, split=split)


def _known_format(path: Path, labels: tuple[str, ...]) -> str | None:
    try:
        return recognise(path, labels=labels)[0]
    except (DatasetError, FileError):
        return None
