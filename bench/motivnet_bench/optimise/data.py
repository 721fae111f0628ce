"""The images of an optimisation: those that accuracy is measured on, and those to train with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motivnet.datasets.read import EVALUATED, read_dataset
from motivnet.datasets.sample import Dataset, Sample
from motivnet.datasets.split import Split
from motivnet.errors import DatasetError
from motivnet_bench.intervals import images_to_show
from motivnet_bench.optimise.result import Data
from motivnet_training.data import read_split
from motivnet_training.distill.images import read_images
from motivnet_training.refit_request import REFIT
from motivnet_training.unlabelled import NO_LABEL, holds_images_alone, read_every_image

SEED = 0
"""That of ``motivnet-train``, whose refit and distillation hold out the same images."""

Samples = tuple[Sample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """The images that accuracy is measured on, and ``others``, from which something may be learnt.

    ``entry`` says which they are; ``sha256`` is over both.
    """

    samples: Samples
    others: Samples
    entry: Data
    sha256: str

    def pixels(self) -> Iterable[NDArray[np.uint8]]:
        """Return the images ``(H, W, 3)``, each decoded when it is needed."""
        return (sample.pixels() for sample in self.samples)

    def truth(self) -> NDArray[np.int64] | None:
        """Return the true classes ``(N,)``, None without labels."""
        if not self.entry.labelled:
            return None
        return np.array([sample.label for sample in self.samples], np.int64)


def read_faces(
    folder: Path, *, labels: tuple[str, ...], refit: bool = False, student: bool = False
) -> Faces:
    """Return the images of a dataset, or of a folder without labels.

    What trains must not be measured. If something trains, images are held out as every training
    does: the dataset's own test or validation split, else a share of the images. If nothing does,
    all images of the dataset's test or validation split are measured, else all there are.

    Raises:
        DatasetError: If the folder has no images, or a class has none to train on.
    """
    trains, labelled = refit or student, not holds_images_alone(folder, labels)
    if not labelled:
        whole, split = read_every_image(
            folder,
            names=(*labels, NO_LABEL),
            seed=SEED,
            validation_share=REFIT.validation_share,
            allow_outside=False,
        )
        faces = _held_out(whole, split) if trains else _all_of(whole, split.digests)
    elif trains:
        faces = _held_out(*read_split(folder, REFIT, labels=labels, seed=SEED))
    else:
        whole = read_dataset(folder, labels=labels)
        faces = _all_of(whole, whole.digests)
    samples, others, digests, source = faces
    if student:
        samples = _not_learnt(samples, folder, labels, digests)
    return Faces(
        samples=samples,
        others=others,
        entry=Data(
            labelled=labelled,
            evaluated=len(samples),
            trained_on=len(others) if trains else 0,
            source=source,
        ),
        sha256=_sha256(samples, others, digests),
    )


def check_enough(entry: Data, max_drop: float | None) -> None:
    """Refuse images that are too few to show that no more than ``max_drop`` points are lost.

    Raises:
        DatasetError: With the number that would do.
    """
    if max_drop is None or entry.evaluated >= (enough := images_to_show(max_drop)):
        return
    raise DatasetError(
        f"{entry.evaluated:,} images ({entry.source}) cannot show a loss of at most {max_drop:g} "
        f"points: even if every answer stayed the same, the 95 % interval would reach "
        f"{300 / entry.evaluated:.1f} points; {enough:,} images would do, or a larger --max-drop"
    )


def _held_out(whole: Dataset, split: Split) -> tuple[Samples, Samples, dict[str, str], str]:
    own = {sample.split for sample in whole.samples}
    if split.test:
        return split.test, split.training, split.digests, "the test split"
    source = "the val split" if "val" in own else "held out of the training"
    return split.validation, split.training, split.digests, source


def _all_of(
    whole: Dataset, digests: dict[str, str]
) -> tuple[Samples, Samples, dict[str, str], str]:
    """Return the images of a split to evaluate on and the others; of no split, all for both."""
    known = tuple(sample for sample in whole.samples if sample.name in digests)
    for name in EVALUATED:
        if samples := tuple(sample for sample in known if sample.split == name):
            others = tuple(sample for sample in known if sample.split not in EVALUATED)
            return samples, others or samples, digests, f"the {name} split"
    return known, known, digests, "all images"


def _not_learnt(
    samples: Samples, folder: Path, labels: tuple[str, ...], digests: dict[str, str]
) -> Samples:
    """Return the images from which a student does not learn either."""
    taught = read_images(
        folder, labels=labels, seed=SEED, share=REFIT.validation_share, allow_outside=False
    )
    learnt = {taught.digests[sample.name] for sample in taught.training}
    kept = tuple(sample for sample in samples if digests[sample.name] not in learnt)
    if not kept:
        raise DatasetError(
            f"{folder} has no image left to measure a student on; put some into a folder val/"
        )
    return kept


def _sha256(samples: Samples, others: Samples, digests: dict[str, str]) -> str:
    digest = hashlib.sha256()
    for part in (samples, others):
        digest.update(b"part\n")
        for sample in part:
            digest.update(f"{sample.name}\t{sample.label}\t{digests[sample.name]}\n".encode())
    return digest.hexdigest()
