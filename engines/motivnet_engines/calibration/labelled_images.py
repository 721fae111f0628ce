"""A folder of labelled faces, a folder per class, and what a model says of each of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import ArtifactError, DatasetError, MotivNetError
from motivnet.images import IMAGE_SUFFIXES
from motivnet.labels import EMOTIONS, is_label
from motivnet.prediction import UNKNOWN, Prediction
from motivnet_engines.inference.classifier import EmotionClassifier


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """Paths by class, in order of their names; ``skipped`` names the class folders that were left out."""

    folder: Path
    paths: dict[str, tuple[Path, ...]]
    skipped: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """The number of images by class."""
        return {label: len(paths) for label, paths in self.paths.items()}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledOutputs:
    """What a model says of N labelled images, in order of the classes, within a class in order of
    the names.

    ``classes`` ``(N,)`` are places in ``labels``; ``logits`` ``(N, outputs)`` are exact but for a
    rounding of float64. ``faceless`` counts the images in which no face was found.
    """

    labels: tuple[str, ...]
    classes: NDArray[np.intp]
    logits: NDArray[np.float64]
    embedding: NDArray[np.float32]
    faceless: int = 0

    def counts(self) -> dict[str, int]:
        """The number of images by label."""
        numbers = np.bincount(self.classes, minlength=len(self.labels))
        return {label: int(number) for label, number in zip(self.labels, numbers, strict=True)}


def labelled_images(folder: Path, *, labels: Sequence[str] | None = None) -> LabelledImages:
    """The images of the class folders in a folder; those whose name begins with a dot are not
    looked at.

    Args:
        labels: The classes there may be; a folder is called as one of them, in any case. An emotion
            that is none of them is left out, and any other name refused. Every name is a class
            where this is None.

    Raises:
        DatasetError: If there is no class folder, one has a name that is not allowed, or holds no
        image.
    """
    if not folder.is_dir():
        raise DatasetError(
            f"{folder} is not a folder; give one that holds a folder of images for each class"
        )
    folders = [
        entry
        for entry in sorted(folder.iterdir())
        if entry.is_dir() and not entry.name.startswith(".")
    ]
    if not folders:
        raise DatasetError(
            f"{folder} holds no class folders; put the images of each class into a folder of its name"
        )
    paths: dict[str, tuple[Path, ...]] = {}
    skipped: list[str] = []
    for entry in folders:
        label = _label(entry, labels)
        if label is None:
            skipped.append(entry.name)
        elif label in paths:
            raise DatasetError(
                f"{folder} holds two folders of the class {label}; put their images into one"
            )
        else:
            paths[label] = _images(entry)
    return LabelledImages(folder=folder, paths=paths, skipped=tuple(skipped))


def outputs_of_sets(
    classifier: EmotionClassifier,
    sets: Sequence[LabelledImages],
    *,
    labels: Sequence[str] | None = None,
    on_images: Callable[[int, int], object] = lambda _done, _total: None,
) -> list[LabelledOutputs]:
    """What the classifier's model says of the images of each set, as ``outputs_of_images``.

    Args:
        labels: The classes in the order of their places; each set has its own where this is None.
        on_images: Hears how many images were finished, and of how many.
    """
    total, numbers = sum(sum(listed.counts().values()) for listed in sets), itertools.count(1)
    return [
        outputs_of_images(
            classifier,
            listed,
            labels=tuple(listed.paths) if labels is None else labels,
            on_image=lambda: on_images(next(numbers), total),
        )
        for listed in sets
    ]


def outputs_of_images(
    classifier: EmotionClassifier,
    images: LabelledImages,
    *,
    labels: Sequence[str],
    on_image: Callable[[], object] = lambda: None,
) -> LabelledOutputs:
    """What the classifier's model says of every image; where a detector finds several faces the
    largest counts.

    Args:
        classifier: One without a readout or a calibration of its own, so that the model speaks.
        labels: The classes in the order of their places; those of ``images`` are among them.

    Raises:
        MotivNetError: Naming the image that cannot be read.
        DatasetError: If no face was found in any image.
        ArtifactError: If the model gives no embedding, or one that is not finite.
    """
    if "embedding" not in classifier.manifest.outputs:
        raise ArtifactError(
            "the artifact gives no embedding, by which classes are told; build it again"
        )
    listed = [
        (path, labels.index(label)) for label, paths in images.paths.items() for path in paths
    ]
    classes: list[int] = []
    faces: list[Prediction] = []
    for (_, place), outcome in zip(
        listed, classifier.outcomes([path for path, _ in listed]), strict=True
    ):
        if isinstance(outcome, MotivNetError):
            raise outcome
        if outcome.faces:
            classes.append(place)
            faces.append(outcome.faces[0])
        on_image()
    if not faces:
        raise DatasetError(
            f"no face was found in any image of {images.folder}; if they are faces, use no detector"
        )
    embedding = np.stack([face.embedding for face in faces if face.embedding is not None])
    if not np.isfinite(embedding).all():
        raise ArtifactError(
            "the model gives embeddings that are not finite; choose another runtime with --runtime"
        )
    return LabelledOutputs(
        labels=tuple(labels),
        classes=np.array(classes, np.intp),
        logits=np.stack([_logits(face) for face in faces]),
        embedding=embedding,
        faceless=len(listed) - len(faces),
    )


def _label(folder: Path, labels: Sequence[str] | None) -> str | None:
    """The class of a folder, None for an emotion that the model has not."""
    if labels is None:
        _check_name(folder)
        return folder.name
    named = {label.casefold(): label for label in labels}
    name = folder.name.casefold()
    if name not in named and name not in EMOTIONS:
        raise DatasetError(
            f"{folder} is not called as a class of the model; give a folder whose folders are {', '.join(labels)}"
        )
    return named.get(name)


def _check_name(folder: Path) -> None:
    name = folder.name
    if not is_label(name) or name.casefold() == UNKNOWN:
        raise DatasetError(
            f"{folder} cannot be the name of a class; use printable text other than {UNKNOWN!r}"
        )


def _images(folder: Path) -> tuple[Path, ...]:
    found = [file for file in sorted(folder.iterdir()) if file.suffix.casefold() in IMAGE_SUFFIXES]
    visible = tuple(file for file in found if not file.name.startswith("."))
    if not visible:
        raise DatasetError(
            f"{folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); remove it or fill it"
        )
    return visible


def _logits(face: Prediction) -> NDArray[np.float64]:
    """From the softmax and the energy of which it is the exponential: ``log p = z - logsumexp(z) = z + energy``."""
    probabilities = np.array(list(face.probabilities.values()), np.float64)
    return np.asarray(
        np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)) - face.energy, np.float64
    )
