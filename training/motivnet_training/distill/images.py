"""The images that a student learns from and is measured on: labelled, of other classes, or bare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from motivnet.datasets.sample import Sample
from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS
from motivnet_training.unlabelled import NO_LABEL, Samples, read_every_image

MIN_TRAINING = 20
MIN_MEASURED = 10
"""With fewer, one image is more than a tenth of the agreement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaughtImages:
    """Images by what they are for; a label beyond those of the model stands for none.

    Attributes:
        training: What the student learns from, whatever it shows.
        validation: What the curve of the training shows; the temperature is fitted to them.
        measured: What fidelity is measured on: of the model's classes, where there are labels.
        unknown: Images of other classes than the model's, of the same split as ``measured``.
        names: What each number in ``Sample.label`` stands for.
    """

    format: str
    training: Samples
    validation: Samples
    measured: Samples
    measured_on: Literal["validation", "test"]
    unknown: Samples
    labels: tuple[str, ...]
    names: tuple[str, ...]
    digests: dict[str, str]

    def has_label(self, sample: Sample) -> bool:
        """Return whether an image has a label that the model has."""
        return sample.label < len(self.labels)

    def counts(self) -> dict[str, int]:
        """Return the number of training images by label, class that the model lacks, or neither."""
        found = Counter(self.names[sample.label] for sample in self.training)
        return {name: found[name] for name in self.names if found[name]}

    def targets(self, samples: Sequence[Sample]) -> Tensor:
        """Return label distributions ``(N, classes)``, zero for an image without a label."""
        targets = np.zeros((len(samples), len(self.labels)), np.float32)
        for row, sample in zip(targets, samples, strict=True):
            if not self.has_label(sample):
                continue
            if sample.distribution is None:
                row[sample.label] = 1.0
            else:
                votes = np.asarray(sample.distribution[: len(self.labels)])
                row[:] = votes / votes.sum()
        return torch.from_numpy(targets)

    def describe(self) -> str:
        """Return in one line what is learnt from."""
        counts = self.counts()
        labelled = sum(counts.get(label, 0) for label in self.labels)
        others = {
            name: counts[name] for name in self.names[len(self.labels) : -1] if name in counts
        }
        shown = f" ({', '.join(others)})" if others else ""
        return (
            f"learns from {labelled:,} labelled images, {sum(others.values()):,} of classes that "
            f"the model does not have{shown} and {counts.get(NO_LABEL, 0):,} without a label; "
            f"is measured on {len(self.measured):,} {self.measured_on} images, "
            f"and {len(self.unknown):,} of other classes"
        )


def read_images(
    data: Path, *, labels: tuple[str, ...], seed: int, share: float, allow_outside: bool = False
) -> TaughtImages:
    """Return the images of any folder or dataset by what they are for.

    Args:
        share: Of the images to hold out, if the dataset has no validation split.

    Raises:
        DatasetError: If there are too few images, or too many of them are unreadable.
        FileError: If a folder or a list cannot be read.
    """
    is_of_emotions = not set(EMOTIONS).isdisjoint(labels)
    others = tuple(each for each in EMOTIONS if each not in labels) if is_of_emotions else ()
    names = (*labels, *others, NO_LABEL)
    dataset, split = read_every_image(
        data, names=names, seed=seed, validation_share=share, allow_outside=allow_outside
    )
    training, validation, test = split.training, split.validation, split.test
    held_out = test or validation
    classes = {sample.label for sample in held_out} or {0}
    images = TaughtImages(
        format=dataset.format,
        training=training,
        validation=_measurable(validation, labels),
        measured=_measurable(held_out, labels),
        measured_on="test" if test else "validation",
        unknown=tuple(
            each
            for each in held_out
            if len(labels) <= each.label < len(names) - 1 and min(classes) < len(labels)
        ),
        labels=labels,
        names=names,
        digests=split.digests,
    )
    if len(training) < MIN_TRAINING or len(images.measured) < MIN_MEASURED:
        raise _too_few(data, len(training), len(images.measured))
    return images


def _measurable(samples: Samples, labels: tuple[str, ...]) -> Samples:
    """Return the images of the model's classes, or all if there are none."""
    return tuple(sample for sample in samples if sample.label < len(labels)) or samples


def _too_few(data: Path, training: int, measured: int = 0) -> DatasetError:
    held_out = f" and {measured:,} to measure it on" if measured else ""
    return DatasetError(
        f"{data} has {training:,} images to learn from{held_out}; a student needs at least "
        f"{MIN_TRAINING} and {MIN_MEASURED}, and learns well from thousands"
    )
