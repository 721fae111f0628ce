"""From a folder of labelled faces to the classes of an artifact, and what that does to the classes it knew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact, open_artifact
from motivnet.errors import ConfigError
from motivnet_engines.adaptation.classes_file import default_path, readout_from_file, write_classes
from motivnet_engines.adaptation.learning import learnt
from motivnet_engines.adaptation.readout import MixtureReadout, features_of
from motivnet_engines.classifier import EmotionClassifier
from motivnet_engines.faces.detector import FaceDetector
from motivnet_engines.labelled_images import LabelledOutputs, labelled_images, outputs_of_images
from motivnet_engines.runtime import open_runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """One class: all images it was ever learnt from, those of this time, and accuracy on the validation images.

    ``before`` is None for a class that was not known, and both are without images to validate with.
    """

    label: str
    images: int
    new_images: int
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation:
    """The classes in output order, and accuracies over the validation images: of the old classes, and of all.

    ``compared_with`` is whose accuracy ``before`` is: the model's own or that of the classes that were extended.
    """

    path: str
    compared_with: str
    classes: tuple[ClassFigures, ...]
    old_before: float | None
    old_after: float | None
    accuracy: float | None
    remarks: tuple[str, ...]


def adapt_artifact(
    folder: Path,
    images: Path,
    *,
    classes: Path | None = None,
    out: Path | None = None,
    validation: Path | None = None,
    runtime: str | None = None,
    threads: int | None = None,
    detector: FaceDetector | None = None,
    on_images: Callable[[int, int], object] = lambda _done, _total: None,
) -> Adaptation:
    """Learns the classes of labelled images with an artifact's model, and writes them to a file beside it.

    Args:
        images: A folder with a folder of images for each class, old or new.
        classes: A file of classes to extend; the file is replaced unless ``out`` is given.
        validation: A folder of other labelled images, to measure old and new classes with.
        on_images: Hears how many images were finished, and of how many.

    Raises:
        ConfigError: If the file to be written is there already and is not the one to extend.
        DatasetError: If there are too few images.
        MissingDependencyError: If scikit-learn is not installed.
        MotivNetError: As ``open_runtime``, and naming an image that cannot be read.
    """
    artifact = open_artifact(folder)
    target = out or classes or default_path(folder)
    if target.exists() and (classes is None or target.resolve() != classes.resolve()):
        raise ConfigError(f"{target} exists; extend it with --classes {target}, or choose another file with --out")
    before = None if classes is None else readout_from_file(classes, artifact)
    sets = [labelled_images(path) for path in (images, validation) if path is not None]
    total, done = sum(len(paths) for listed in sets for paths in listed.paths.values()), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        on_images(done, total)

    opened = open_runtime(artifact, runtime=runtime, threads=threads)
    with EmotionClassifier(opened, artifact.manifest, detector=detector) as classifier:
        outputs = [
            outputs_of_images(classifier, listed, labels=tuple(listed.paths), on_image=advance) for listed in sets
        ]
    after = learnt(outputs[0], before=before)
    write_classes(after, target, manifest=artifact.manifest)
    return _adaptation(
        artifact, outputs[0], outputs[1] if validation else None, before=before, after=after, path=target
    )


def _adaptation(
    artifact: Artifact,
    outputs: LabelledOutputs,
    validation: LabelledOutputs | None,
    *,
    before: MixtureReadout | None,
    after: MixtureReadout,
    path: Path,
) -> Adaptation:
    known = artifact.manifest.labels if before is None else before.labels
    right_before, right_after = {}, {}
    if validation is not None:
        scores = validation.logits if before is None else before.log_densities(_features(validation))
        right_before = _right_by_label(validation, scores, known)
        right_after = _right_by_label(validation, after.log_densities(_features(validation)), after.labels)
    old = [label for label in known if label in right_before and label in right_after]
    new_images = outputs.counts()
    return Adaptation(
        path=str(path),
        compared_with="the model's own classes" if before is None else "the classes that were there",
        classes=tuple(
            ClassFigures(
                label=label,
                images=mixture.images,
                new_images=new_images.get(label, 0),
                before=_share(right_before, [label]),
                after=_share(right_after, [label]),
            )
            for label, mixture in zip(after.labels, after.mixtures, strict=True)
        ),
        old_before=_share(right_before, old),
        old_after=_share(right_after, old),
        accuracy=_share(right_after, list(right_after)),
        remarks=tuple(_remarks(known, outputs, validation, after)),
    )


def _features(outputs: LabelledOutputs) -> NDArray[np.float64]:
    return features_of(outputs.logits, outputs.embedding)


def _right_by_label(
    outputs: LabelledOutputs, scores: NDArray[np.float64], labels: tuple[str, ...]
) -> dict[str, NDArray[np.bool_]]:
    """For each of the labels that has images, which of them have it as their highest score of ``(N, labels)``."""
    best = scores.argmax(axis=1)
    return {
        label: best[outputs.classes == place] == labels.index(label)
        for place, label in enumerate(outputs.labels)
        if label in labels and (outputs.classes == place).any()
    }


def _share(right: dict[str, NDArray[np.bool_]], labels: list[str]) -> float | None:
    found = [right[label] for label in labels if label in right]
    return float(np.concatenate(found).mean()) if found else None


def _remarks(
    known: tuple[str, ...], outputs: LabelledOutputs, validation: LabelledOutputs | None, after: MixtureReadout
) -> list[str]:
    remarks = []
    if gone := [label for label in known if label not in after.labels]:
        remarks.append(f"no images of {', '.join(gone)}: the model's own classes that are not predicted any more")
    strangers = [] if validation is None else [label for label in validation.labels if label not in after.labels]
    if strangers:
        remarks.append(f"validation images of {', '.join(strangers)} were not counted: there is no such class")
    if faceless := outputs.faceless + (validation.faceless if validation else 0):
        remarks.append(f"no face was found in {faceless} images, which were left out")
    return remarks
