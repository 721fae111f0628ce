"""A cascade: a student answers, and a larger model is asked where the student is unsure.

The idea is that of Viola and Jones 2001 (CVPR, doi 10.1109/CVPR.2001.990517); asking a larger
network below a confidence of a smaller one is in Bolukbasi et al. 2017 (arXiv 1702.07811).
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.manifest import Manifest
from motivnet.errors import ArtifactError, ConfigError
from motivnet.images import USER_LIMITS, ImageLimits
from motivnet.prediction import Prediction
from motivnet.printable import counted, printable
from motivnet.runtime import Runtime
from motivnet_engines.faces.detector import FaceDetector
from motivnet_engines.inference.classifier import EmotionClassifier, classify_prepared
from motivnet_engines.inference.escalation import (
    Escalation,
    check_models,
    escalation_of_artifact,
)
from motivnet_engines.inference.pipeline import Outcome, run_pipeline
from motivnet_engines.inference.preprocessing import Image, PreparedImage, prepare_faces
from motivnet_engines.inference.results import ImageResult

_Other = TypeVar("_Other")
_Made = TypeVar("_Made")


class Classifier(Protocol):
    """What an ``EmotionClassifier`` and a ``Cascade`` have in common; its inputs are opaque."""

    manifest: Manifest
    runtime: Runtime
    batch_size: int
    detector: FaceDetector | None
    unknown: bool
    limits: ImageLimits

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in the order of every prediction's probabilities."""

    def prepare(
        self,
        image: Image,
        *,
        name: str = "the image",
        detector: FaceDetector | None = None,
        limits: ImageLimits | None = None,
    ) -> PreparedImage:
        """Prepare an image for ``classify``; may be called from any thread."""

    def classify(self, inputs: Sequence[Any]) -> list[Prediction]:
        """Return one prediction per input of ``prepare``."""

    def classify_group(self, group: Sequence[PreparedImage | _Other]) -> list[ImageResult | _Other]:
        """Classify the faces of prepared images together; anything else stays as it is."""

    def outcomes(self, images: Iterable[Image]) -> Generator[Outcome, None, None]:
        """Yield the result of each image, or the error of one that cannot be read."""

    def close(self) -> None:
        """Close what is open; a second call does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedInput:
    """The inputs of both models for one face.

    Both are made where images are prepared, by several threads: to resize a face takes little
    beside either model, and a crop that waits for an answer may be larger than both inputs.
    """

    student: NDArray[Any]
    full: NDArray[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of both."""
        return self.student.nbytes + self.full.nbytes


class Cascade:
    """Two classifiers in one: the student answers, and the full model where the student is unsure.

    The student is unsure of a face below the escalation's threshold of confidence, and of one that
    its calibration takes for unknown. Those of one batch go to the full model together. A
    prediction has everything from the model that ``answered_by`` names, also distance and
    embedding, which cannot be compared between the two.

    It owns and closes both classifiers, which have one detector and the same limits. It may be used
    from several threads at once.

    Args:
        escalation: Of the student to this full model; without one the full model is always asked.

    Attributes:
        faces: How many faces were answered so far.
        by_student: How many of them by the student.
    """

    def __init__(
        self,
        student: EmotionClassifier,
        full: EmotionClassifier,
        escalation: Escalation | None = None,
    ) -> None:
        self.student, self.full, self.escalation = student, full, escalation
        self.manifest, self.runtime = student.manifest, student.runtime
        self.batch_size = student.batch_size
        self.detector, self.limits = student.detector, student.limits
        self.unknown = student.unknown
        self.faces = self.by_student = 0
        self._counting = threading.Lock()

    @classmethod
    def open(
        cls,
        folder: Path | str,
        full: Path | str,
        *,
        runtime: str | None = None,
        threads: int | None = None,
        detector: FaceDetector | None = None,
        unknown: bool = False,
        trust_engines: bool = False,
        limits: ImageLimits = USER_LIMITS,
    ) -> Cascade:
        """Open a student's artifact, and the full model that its threshold was chosen for.

        Args:
            runtime: Of both.
            threads: Of each; only one of the two computes at a time.

        Raises:
            ConfigError: If the student has no threshold, or the two do not go together.
            ArtifactError: If the threshold was chosen for another full model.
            MotivNetError: As ``EmotionClassifier.open``.
        """
        student_artifact, full_artifact = open_artifact(folder), open_artifact(full)
        check_models(student_artifact, full_artifact)
        escalation = _escalation_to(full_artifact, student_artifact)
        with contextlib.ExitStack() as stack:
            student_model, full_model = (
                stack.enter_context(
                    _open_named(
                        each,
                        runtime=runtime,
                        threads=threads,
                        detector=detector,
                        unknown=unknown,
                        trust_engines=trust_engines,
                        limits=limits,
                    )
                )
                for each in (folder, full)
            )
            stack.pop_all()
        return cls(student_model, full_model, escalation)

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in the order of every prediction's probabilities."""
        return self.student.labels

    def outcomes(self, images: Iterable[Image]) -> Generator[Outcome, None, None]:
        """Yield one result per image, with the error in place of that of an unreadable image.

        Raises:
            ArtifactError: If a model gives logits that are not finite.
        """
        return self.pipeline(images, self.classify_group)

    def pipeline(
        self, images: Iterable[Image], classify_group: Callable[[list[Any]], list[_Made]]
    ) -> Generator[_Made, None, None]:
        """Yield in order what a function makes of groups of prepared images and of errors."""
        any_size = self.manifest.input.any_size or self.full.manifest.input.any_size
        return run_pipeline(
            enumerate(images),
            lambda item: self.prepare(item[1], name=f"images[{item[0]}]"),
            classify_group,
            faces=self.batch_size,
            spare=0 if any_size else 2 * self.batch_size,
        )

    def prepare(
        self,
        image: Image,
        *,
        name: str = "the image",
        detector: FaceDetector | None = None,
        limits: ImageLimits | None = None,
    ) -> PreparedImage:
        """Prepare an image for ``classify``: faces are cropped once, and resized for each model.

        Args:
            detector: In place of the cascade's own.
            limits: In place of the cascade's own.

        Raises:
            FileError, ImageError, InputError: Naming the image.
        """
        models = (self.student, self.full)
        return prepare_faces(
            image,
            lambda crop: PairedInput(
                student=self.student.input_from_crop(crop), full=self.full.input_from_crop(crop)
            ),
            name=name,
            side=max(max(one.manifest.input.preprocessing.content_size) for one in models),
            detector=detector or self.detector,
            limits=limits or self.limits,
        )

    def classify(self, inputs: Sequence[PairedInput]) -> list[Prediction]:
        """Return one prediction per input of ``prepare``, with the model that answered.

        Raises:
            ArtifactError: If a model gives logits that are not finite.
        """
        answers = [
            replace(answer, answered_by="student")
            for answer in self.student.classify([pair.student for pair in inputs])
        ]
        threshold = math.inf if self.escalation is None else self.escalation.threshold
        unsure = [
            place
            for place, answer in enumerate(answers)
            if not is_answered_by_student(answer, threshold)
        ]
        asked = self.full.classify([inputs[place].full for place in unsure])
        for place, answer in zip(unsure, asked, strict=True):
            answers[place] = replace(answer, answered_by="full")
        with self._counting:
            self.faces += len(answers)
            self.by_student += len(answers) - len(unsure)
        return answers

    def classify_group(self, group: Sequence[PreparedImage | _Other]) -> list[ImageResult | _Other]:
        """Classify the faces of prepared images together; anything else stays as it is."""
        return classify_prepared(self.classify, group)

    def summary(self) -> str:
        """Return who answered the faces so far, and the mean cost, in one line."""
        if not self.faces:
            return "no face was found: neither the student nor the full model was asked"
        asked = self.faces - self.by_student
        student_flop, full_flop = (
            one.manifest.source.config.flop for one in (self.student, self.full)
        )
        cost = student_flop / full_flop + asked / self.faces
        return (
            f"{counted(self.faces, 'face')}: {self.by_student:,} by the student, {asked:,} by the "
            f"full model; {cost:.0%} of the full model's cost (FLOP)"
        )

    def close(self) -> None:
        """Close both models; a second call does nothing."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.full.close)
            stack.callback(self.student.close)

    def __enter__(self) -> Cascade:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _escalation_to(full: Artifact, student: Artifact) -> Escalation:
    """Return the student's escalation, which must be to this full model."""
    escalation = escalation_of_artifact(student)
    advice = f"motivnet calibrate --escalate {full.folder} {student.folder} FOLDER"
    if escalation is None:
        raise ConfigError(
            f"{student.folder} has no threshold below which to escalate; make one with: {advice}"
        )
    if escalation.full != full.manifest.model_identity():
        raise ArtifactError(
            f"{full.folder} is not the model that {student.folder} escalates to, which was "
            f"called {printable(escalation.full_name)}; give that one, or choose a threshold for "
            f"this one with: {advice}"
        )
    return escalation


def _open_named(folder: Path | str, **options: Any) -> EmotionClassifier:
    """Open one of the two, whose name is in the error if an option does not suit it."""
    try:
        return EmotionClassifier.open(folder, **options)
    except ConfigError as error:
        raise ConfigError(f"{folder}: {error}") from error


def is_answered_by_student(answer: Prediction, threshold: float) -> bool:
    """Return whether a student's prediction stands; one that it takes for unknown does not."""
    return answer.confidence >= threshold and answer.known is not False


def open_classifier(
    folder: Path | str,
    *,
    escalate: Path | str | None = None,
    runtime: str | None = None,
    threads: int | None = None,
    detector: FaceDetector | None = None,
    unknown: bool = False,
    adapted_classes: Path | str | None = None,
    trust_engines: bool = False,
    limits: ImageLimits = USER_LIMITS,
) -> EmotionClassifier | Cascade:
    """Return the classifier of an artifact, or its cascade with the full model to escalate to.

    Args:
        adapted_classes: Only without ``escalate``, whose threshold is for the model's own classes.

    Raises:
        MotivNetError: As ``EmotionClassifier.open`` and ``Cascade.open``.
    """
    if escalate is None:
        return EmotionClassifier.open(
            folder,
            runtime=runtime,
            threads=threads,
            detector=detector,
            unknown=unknown,
            adapted_classes=adapted_classes,
            trust_engines=trust_engines,
            limits=limits,
        )
    return Cascade.open(
        folder,
        escalate,
        runtime=runtime,
        threads=threads,
        detector=detector,
        unknown=unknown,
        trust_engines=trust_engines,
        limits=limits,
    )
