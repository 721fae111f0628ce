"""Training and validation parts of a labelled set."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motivnet.errors import DatasetError
from motivnet_training.datasets.folder import LabelledImages, read_folder

Files = tuple[tuple[Path, int], ...]

VALIDATION_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Files to train on and files to validate on, and how many were left out by reason."""

    training: Files
    validation: Files
    skipped: dict[str, int]


def read_split(path: Path | str, *, labels: tuple[str, ...], seed: int) -> Split:
    """The split that a dataset brings as the folders ``train`` and ``val``, else a random tenth of each class.

    Raises:
        DatasetError: If the folder holds no readable images, or too few to split.
    """
    path = Path(path)
    if (path / "train").is_dir() and (path / "val").is_dir():
        training, validation = (read_folder(path / part, labels=labels) for part in ("train", "val"))
        skipped = {
            reason: training.skipped.get(reason, 0) + validation.skipped.get(reason, 0)
            for reason in sorted(training.skipped | validation.skipped)
        }
        return Split(training=training.samples, validation=validation.samples, skipped=skipped)
    return split_by_class(read_folder(path, labels=labels), seed=seed)


def split_by_class(images: LabelledImages, *, seed: int) -> Split:
    """A random tenth of each class, and at least one image of it, for validation; a class of one is trained on.

    Raises:
        DatasetError: If no class has two images.
    """
    by_class: dict[int, list[tuple[Path, int]]] = defaultdict(list)
    for sample in images.samples:
        by_class[sample[1]].append(sample)
    rng = np.random.default_rng(seed)
    training: list[tuple[Path, int]] = []
    validation: list[tuple[Path, int]] = []
    for label in sorted(by_class):
        samples = [by_class[label][index] for index in rng.permutation(len(by_class[label]))]
        held_out = max(1, round(len(samples) * VALIDATION_SHARE)) if len(samples) > 1 else 0
        validation += samples[:held_out]
        training += samples[held_out:]
    if not validation:
        raise DatasetError("no class has two images, so that none can be held out for validation; add images")
    return Split(training=tuple(training), validation=tuple(validation), skipped=dict(images.skipped))
