"""From a folder of labelled faces to the classes of an artifact, and what that does to the classes it knew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from motivnet.artifact import Artifact, open_artifact
from motivnet.errors import ConfigError
from motivnet_engines.adaptation.evaluation import Judgement, forgetting, judged
from motivnet_engines.adaptation.learning import (
    ENOUGH_OF_A_CLASS,
    Lesson,
    check_counts,
    classes_with_few,
    learnt,
)
from motivnet_engines.calibration.labelled_images import (
    LabelledOutputs,
    labelled_images,
    outputs_of_sets,
)
from motivnet_engines.faces.detector import FaceDetector
from motivnet_engines.inference.classes_file import (
    LearntClasses,
    classes_from_file,
    default_path,
    write_classes,
)
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.inference.mixture_head import MixtureReadout, features_of
from motivnet_engines.runtimes.registry import open_runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """One class: all images it was ever learnt from, those of this time, and its accuracy.

    ``before`` is None for a class that was not known, and both are without images to measure with.
    """

    label: str
    images: int
    new_images: int
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation:
    """The classes in output order, and accuracies over the images of ``measured_on``: of the old
    classes, and of all.

    ``compared_with`` is whose accuracy ``before`` is: the model's own or that of the classes that
    were extended. ``forgetting`` is the best earlier accuracy on validation images minus that of
    now, averaged over the old classes; it compares like with like if the same validation images are
    given every time, and is None without any.
    """

    path: str
    compared_with: str
    measured_on: str
    classes: tuple[ClassFigures, ...]
    old_before: float | None
    old_after: float | None
    forgetting: float | None
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
    trust_engines: bool = False,
    detector: FaceDetector | None = None,
    on_images: Callable[[int, int], object] = lambda _done, _total: None,
) -> Adaptation:
    """Learns the classes of labelled images with an artifact's model, and writes them to a file
    beside it.

    Args:
        images: A folder with a folder of images for each class, old or new.
        classes: A file of classes to extend; the file is replaced unless ``out`` is given.
        validation: A folder of other labelled images, to measure old and new classes with; where it
            is None, each fifth of ``images`` is told by what the others teach.
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
        raise ConfigError(
            f"{target} exists; extend it with --classes {target}, or choose another file with --out"
        )
    before = None if classes is None else classes_from_file(classes, artifact)
    sets = [labelled_images(path) for path in (images, validation) if path is not None]
    check_counts(sets[0].counts(), known=() if before is None else before.readout.labels)
    opened = open_runtime(artifact, runtime=runtime, threads=threads, trust_engines=trust_engines)
    with EmotionClassifier(opened, artifact.manifest, detector=detector) as classifier:
        outputs = outputs_of_sets(classifier, sets, on_images=on_images)
    lesson = learnt(outputs[0], before=before.readout if before else None)
    measured = _measured(artifact, outputs, before, lesson)
    best = _best(before, measured) if validation else {} if before is None else before.best
    write_classes(
        LearntClasses(readout=lesson.readout, best=best), target, manifest=artifact.manifest
    )
    return Adaptation(
        path=str(target),
        compared_with="the model's own classes"
        if before is None
        else "the classes that were there",
        measured_on=str(validation) if validation else f"{images}, fifth by fifth",
        classes=_figures(outputs[0], lesson.readout, measured),
        old_before=measured.before.share(measured.old),
        old_after=measured.after.share(measured.old),
        forgetting=forgetting(_earlier(before, measured), measured.after.shares())
        if before and validation
        else None,
        accuracy=measured.after.share(measured.after.right),
        remarks=tuple(_remarks(measured, outputs, lesson.readout)),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Measured:
    """What was right before and after; ``known`` are the classes of before, ``old`` those judged both times."""

    known: tuple[str, ...]
    before: Judgement
    after: Judgement

    @property
    def old(self) -> list[str]:
        return [
            label
            for label in self.known
            if label in self.before.right and label in self.after.right
        ]


def _measured(
    artifact: Artifact, outputs: list[LabelledOutputs], before: LearntClasses | None, lesson: Lesson
) -> _Measured:
    """By the last of the outputs; where they are those learnt from, each fifth by what the others taught."""
    by, labels = outputs[-1], lesson.readout.labels
    features = features_of(by.logits, by.embedding)
    known = artifact.manifest.labels if before is None else before.readout.labels
    scores = by.logits if before is None else before.readout.log_densities(features)
    densities = lesson.densities if len(outputs) == 1 else lesson.readout.log_densities(features)
    return _Measured(
        known=known, before=judged(by, scores, known), after=judged(by, densities, labels)
    )


def _earlier(before: LearntClasses, measured: _Measured) -> dict[str, float]:
    """The best accuracy that each old class ever had, just before this time included."""
    return {
        label: max(share, before.best.get(label, 0.0))
        for label, share in measured.before.shares().items()
        if label in before.readout.labels
    }


def _best(before: LearntClasses | None, measured: _Measured) -> dict[str, float]:
    now = measured.after.shares()
    earlier = {} if before is None else before.best | _earlier(before, measured)
    return earlier | {label: max(share, earlier.get(label, 0.0)) for label, share in now.items()}


def _figures(
    outputs: LabelledOutputs, readout: MixtureReadout, measured: _Measured
) -> tuple[ClassFigures, ...]:
    new_images = outputs.counts()
    return tuple(
        ClassFigures(
            label=label,
            images=mixture.images,
            new_images=new_images.get(label, 0),
            before=measured.before.share([label]),
            after=measured.after.share([label]),
        )
        for label, mixture in zip(readout.labels, readout.mixtures, strict=True)
    )


def _remarks(
    measured: _Measured, outputs: list[LabelledOutputs], readout: MixtureReadout
) -> list[str]:
    remarks = []
    if few := classes_with_few(outputs[0].counts()):
        remarks.append(
            f"fewer than {ENOUGH_OF_A_CLASS} images of {', '.join(few)}: too few to tell such a class well"
        )
    if gone := [label for label in measured.known if label not in readout.labels]:
        remarks.append(
            f"no images of {', '.join(gone)}: the model's own classes that are not predicted any more"
        )
    if unseen := [
        label
        for label in measured.known
        if label in readout.labels and label not in measured.before.right
    ]:
        remarks.append(
            f"no images to measure {', '.join(unseen)} with, which were known: give some with --val"
        )
    if strangers := [label for label in outputs[-1].labels if label not in readout.labels]:
        remarks.append(
            f"validation images of {', '.join(strangers)} were not counted: there is no such class"
        )
    if faceless := sum(found.faceless for found in outputs):
        remarks.append(f"no face was found in {faceless} images, which were left out")
    return remarks
