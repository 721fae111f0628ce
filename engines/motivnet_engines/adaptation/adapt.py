"""Adapt an artifact to folders of labelled faces, and measure what that does to older classes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import open_artifact
from motivnet.datasets.read import read_class_folders
from motivnet.errors import ConfigError
from motivnet.images import USER_LIMITS, ImageLimits
from motivnet.path_kind import kind_of
from motivnet.printable import counted
from motivnet_engines.adaptation.evaluation import Evaluation, evaluate, track_best
from motivnet_engines.adaptation.learning import (
    ENOUGH_PER_CLASS,
    check_counts,
    learn_classes,
)
from motivnet_engines.calibration.labelled_outputs import (
    LabelledOutputs,
    compute_outputs,
    take_readable,
)
from motivnet_engines.faces.detector import FaceDetector
from motivnet_engines.inference.adapted_classes import (
    AdaptedClasses,
    default_path,
    read_adapted_classes,
    write_adapted_classes,
)
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.inference.heads import MixtureHead, mixture_features
from motivnet_engines.runtimes.selection import open_runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAccuracy:
    """One class: its images of all runs and of this one, and its accuracy.

    ``before`` is None for a class that was not known, and both are None without images to measure
    it with.
    """

    label: str
    images: int
    new_images: int
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation:
    """The classes in output order, and accuracies over the images of ``measured_on``.

    ``compared_with`` says whose accuracy ``before`` is: that of the model's own classes or of the
    classes that were extended. ``forgetting`` is the best earlier accuracy on held-out images minus
    the current one, averaged over the old classes. It is comparable only if the same held-out
    images are given every time, and None without any.
    """

    path: str
    compared_with: str
    measured_on: str
    classes: tuple[ClassAccuracy, ...]
    old_before: float | None
    old_after: float | None
    forgetting: float | None
    accuracy: float | None
    warnings: tuple[str, ...]


def adapt_artifact(
    folder: Path,
    images: Path,
    *,
    adapted_classes: Path | None = None,
    out: Path | None = None,
    held_out: Path | None = None,
    runtime: str | None = None,
    threads: int | None = None,
    trust_engines: bool = False,
    detector: FaceDetector | None = None,
    limits: ImageLimits = USER_LIMITS,
    on_share: Callable[[float], object] = lambda _: None,
) -> Adaptation:
    """Learn the classes of labelled images with an artifact's model; write them to a file.

    Args:
        images: A folder with a folder of images for each class, old or new.
        adapted_classes: A file of classes to extend; it is replaced unless ``out`` is given.
        held_out: A folder of other labelled images to measure old and new classes with; 5-fold
            cross-validation over ``images`` if None.
        on_share: Called after each image with its share of all.

    Raises:
        ConfigError: If the file to write exists and is not the one to extend.
        DatasetError: If there are too few images, or more than a few cannot be read.
        MissingDependencyError: If scikit-learn is not installed.
        MotivNetError: As ``open_runtime``.
    """
    artifact = open_artifact(folder)
    target = _choose_target(folder, out=out, adapted_classes=adapted_classes)
    older = read_adapted_classes(adapted_classes, artifact) if adapted_classes else None
    known = older.head.labels if older else artifact.manifest.labels
    sets = [
        take_readable(read_class_folders(path, labels=known, new_classes=True), limits)
        for path in (images, held_out)
        if path is not None
    ]
    check_counts(sets[0].counts(), known=known if older else ())
    opened = open_runtime(artifact, runtime=runtime, threads=threads, trust_engines=trust_engines)
    with EmotionClassifier(
        opened, artifact.manifest, detector=detector, limits=limits
    ) as classifier:
        outputs = compute_outputs(classifier, sets, on_share=on_share)

    head, densities = learn_classes(outputs[0], before=older.head if older else None)
    measured = outputs[-1]
    scores = _densities(older.head, measured) if older else measured.logits
    before = evaluate(measured, scores, known)
    if held_out is not None:
        densities = _densities(head, measured)
    after = evaluate(measured, densities, head.labels)
    best, lost = older.best if older else {}, None
    if held_out is not None:
        best, lost = track_best(best, before, after) if older else (after.by_class(), None)
    write_adapted_classes(AdaptedClasses(head=head, best=best), target, manifest=artifact.manifest)

    old = [label for label in known if label in before.right and label in after.right]
    return Adaptation(
        path=str(target),
        compared_with="the older classes" if older else "the model's own classes",
        measured_on=str(held_out) if held_out else f"{images}, by cross-validation",
        classes=_class_accuracies(head, outputs[0].counts(), before, after),
        old_before=before.accuracy(old),
        old_after=after.accuracy(old),
        forgetting=lost,
        accuracy=after.accuracy(after.right),
        warnings=tuple(_warnings(outputs, known=known, head=head, before=before)),
    )


def _choose_target(folder: Path, *, out: Path | None, adapted_classes: Path | None) -> Path:
    target = out or adapted_classes or default_path(folder)
    extends = adapted_classes is not None and _is_same(target, adapted_classes)
    kind = kind_of(target)
    if kind not in (None, "file"):
        raise ConfigError(f"{target} is not a regular file; choose another one with --out")
    if kind is not None and not extends:
        raise ConfigError(
            f"{target} exists; extend it with --adapted-classes {target}, "
            "or choose another file with --out"
        )
    return target


def _is_same(first: Path, second: Path) -> bool:
    return os.path.realpath(first) == os.path.realpath(second)


def _densities(head: MixtureHead, outputs: LabelledOutputs) -> NDArray[np.float64]:
    return head.log_densities(mixture_features(outputs.logits, outputs.embedding))


def _class_accuracies(
    head: MixtureHead, new_images: dict[str, int], before: Evaluation, after: Evaluation
) -> tuple[ClassAccuracy, ...]:
    return tuple(
        ClassAccuracy(
            label=label,
            images=mixture.images,
            new_images=new_images.get(label, 0),
            before=before.accuracy([label]),
            after=after.accuracy([label]),
        )
        for label, mixture in zip(head.labels, head.mixtures, strict=True)
    )


def _warnings(
    outputs: list[LabelledOutputs],
    *,
    known: tuple[str, ...],
    head: MixtureHead,
    before: Evaluation,
) -> list[str]:
    counts = outputs[0].counts()
    kept = [label for label in known if label in head.labels]
    classes = {
        f"fewer than {ENOUGH_PER_CLASS} images of {{}}: too few to tell such a class well": (
            [label for label, count in counts.items() if 0 < count < ENOUGH_PER_CLASS]
        ),
        "no images of {}: these classes of the model are not predicted any more": (
            [label for label in known if label not in head.labels]
        ),
        "no images to measure the older classes {} with: give some with --val": (
            [label for label in kept if label not in before.right]
        ),
        "held-out images of {} were not counted: there is no such class": (
            [label for label in outputs[-1].labels if label not in head.labels]
        ),
    }
    warnings = [text.format(", ".join(labels)) for text, labels in classes.items() if labels]
    if faceless := sum(found.faceless for found in outputs):
        warnings.append(f"no face was found in {counted(faceless, 'image')}, left out")
    return warnings
