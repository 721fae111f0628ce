"""What a model outputs for labelled images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motivnet.datasets.check import MAX_UNREADABLE, check_readable
from motivnet.datasets.class_folders import ClassFolders
from motivnet.datasets.sample import Sample
from motivnet.errors import ArtifactError, DatasetError, MotivNetError
from motivnet.images import ImageLimits
from motivnet.prediction import Prediction
from motivnet_engines.inference.classifier import EmotionClassifier

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledOutputs:
    """The outputs of a model for N labelled images, ordered by class and within a class by name.

    ``classes`` ``(N,)`` are indices into ``labels``. ``logits`` ``(N, outputs)`` are exact except
    for the rounding of float64. ``faceless`` counts the images in which no face was found.
    """

    labels: tuple[str, ...]
    classes: NDArray[np.intp]
    logits: NDArray[np.float64]
    embedding: NDArray[np.float32]
    faceless: int = 0

    def counts(self) -> dict[str, int]:
        """Return the number of images by label."""
        numbers = np.bincount(self.classes, minlength=len(self.labels))
        return {label: int(number) for label, number in zip(self.labels, numbers, strict=True)}


def take_readable(folders: ClassFolders, limits: ImageLimits) -> ClassFolders:
    """Return the images that can be decoded, each of which is tried; what was left out is logged.

    Raises:
        DatasetError: If more than a few cannot be, or none can.
    """

    def name_of(path: Path) -> str:
        return path.relative_to(folders.folder).as_posix()

    samples = [
        Sample(name=name_of(path), image=path, label=place)
        for place, paths in enumerate(folders.paths.values())
        for path in paths
    ]
    checked = check_readable(samples, limits=limits)
    checked.refuse_many_unreadable(max_share=MAX_UNREADABLE)
    left_out = folders.left_out | checked.left_out()
    if left_out.counts:
        logger.warning("%s: left out %s", folders.folder, left_out)
    if not checked.digests:
        raise DatasetError(f"no image of {folders.folder} can be read: {checked.left_out()}")
    readable = {
        label: tuple(path for path in paths if name_of(path) in checked.digests)
        for label, paths in folders.paths.items()
    }
    return replace(folders, paths={label: paths for label, paths in readable.items() if paths})


def compute_outputs(
    classifier: EmotionClassifier,
    sets: Sequence[ClassFolders],
    *,
    labels: Sequence[str] | None = None,
    on_share: Callable[[float], object] = lambda _: None,
) -> list[LabelledOutputs]:
    """Run the classifier's model on the images of each set.

    If a detector finds several faces in an image, the largest counts.

    Args:
        classifier: One with the model's own head and no calibration.
        labels: The classes in the order of their indices; if None, each set has its own.
        on_share: Called after each image with its share of all.

    Raises:
        MotivNetError: Naming an image that cannot be read.
        DatasetError: If no face was found in any image of a set.
        ArtifactError: If the model gives no embedding, or one that is not finite.
    """
    if "embedding" not in classifier.manifest.outputs:
        raise ArtifactError(
            "the artifact gives no embedding, by which classes are told; build it again"
        )
    total = sum(sum(folders.counts().values()) for folders in sets)
    return [
        _outputs_of_set(
            classifier,
            folders,
            labels=tuple(folders.paths if labels is None else labels),
            on_image=lambda: on_share(1 / total),
        )
        for folders in sets
    ]


def _outputs_of_set(
    classifier: EmotionClassifier,
    folders: ClassFolders,
    *,
    labels: tuple[str, ...],
    on_image: Callable[[], object],
) -> LabelledOutputs:
    listed = [
        (path, labels.index(label)) for label, paths in folders.paths.items() for path in paths
    ]
    outcomes = classifier.outcomes(path for path, _ in listed)
    classes: list[int] = []
    faces: list[Prediction] = []
    for (_, place), outcome in zip(listed, outcomes, strict=True):
        if isinstance(outcome, MotivNetError):
            raise outcome
        if outcome.faces:
            classes.append(place)
            faces.append(outcome.faces[0])
        on_image()
    if not faces:
        raise DatasetError(
            f"no face was found in any image of {folders.folder}; "
            "if they are faces, use no detector"
        )
    embedding = np.stack([face.embedding for face in faces if face.embedding is not None])
    if not np.isfinite(embedding).all():
        raise ArtifactError(
            "the model gives embeddings that are not finite; choose another runtime with --runtime"
        )
    return LabelledOutputs(
        labels=labels,
        classes=np.array(classes, np.intp),
        logits=np.stack([_logits(face) for face in faces]),
        embedding=embedding,
        faceless=len(listed) - len(faces),
    )


def _logits(face: Prediction) -> NDArray[np.float64]:
    """Recover the logits: ``log p = z - logsumexp(z) = z + energy``."""
    probabilities = np.array(list(face.probabilities.values()), np.float64)
    logarithms = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    return np.asarray(logarithms - face.energy, np.float64)
