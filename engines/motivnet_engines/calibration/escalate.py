"""Choose when a student asks a full model, on images without labels."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from motivnet.artifact import Artifact, check_addable, open_artifact
from motivnet.datasets.check import MAX_UNREADABLE, check_readable
from motivnet.datasets.image_folders import walk_images
from motivnet.datasets.sample import Sample
from motivnet.errors import DatasetError, MotivNetError
from motivnet.images import USER_LIMITS, ImageLimits
from motivnet.path_kind import is_folder
from motivnet.prediction import Prediction
from motivnet.printable import counted
from motivnet_engines.calibration.changed_answers import check_enough_images, choose_threshold
from motivnet_engines.faces.detector import FaceDetector
from motivnet_engines.inference.cascade import Cascade, is_answered_by_student
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.inference.escalation import (
    ESCALATION_FILE,
    Escalation,
    add_escalation,
    calibration_hash,
    check_models,
)
from motivnet_engines.inference.preprocessing import PreparedImage

logger = logging.getLogger(__name__)

MAX_CHANGED = 0.02
"""The default bound on the share of changed answers."""


def calibrate_escalation(
    folder: Path,
    images: Path,
    full: Path,
    *,
    max_changed: float = MAX_CHANGED,
    runtime: str | None = None,
    threads: int | None = None,
    trust_engines: bool = False,
    detector: FaceDetector | None = None,
    limits: ImageLimits = USER_LIMITS,
    on_share: Callable[[float], object] = lambda _: None,
) -> tuple[Escalation, list[str]]:
    """Measure where a student agrees with a full model, and add the escalation to its artifact.

    Return what was measured and written, and warnings for the user.

    Args:
        folder: The student's artifact.
        images: A folder of images; those in folders below it count too. They need no labels.
        full: The full model's artifact.
        max_changed: The largest share of answers that the student may change.
        detector: Crops the faces, as it will for predictions, of which the largest of an image
            counts; if None, each image is a face.
        on_share: Called after each image with its share of all.

    Raises:
        ConfigError: If the two models do not go together.
        DatasetError: If there are too few images for the bound, more than a few of them cannot be
            read, or the student differs from the full model where it is surest.
        MotivNetError: As ``open_runtime``.
    """
    artifact, full_artifact = open_artifact(folder), open_artifact(full)
    check_models(artifact, full_artifact)
    check_addable(artifact, ESCALATION_FILE)
    paths, repeated = _distinct_images(images, limits)
    check_enough_images(len(paths), max_changed=max_changed)
    opening: dict[str, Any] = {
        "runtime": runtime,
        "threads": threads,
        "trust_engines": trust_engines,
        "detector": detector,
        "limits": limits,
    }
    with (
        EmotionClassifier.open(folder, **opening) as student,
        EmotionClassifier.open(full, **opening) as other,
    ):
        agreement = _measure(Cascade(student, other), paths, on_share=on_share)
    if not agreement.answers:
        raise DatasetError(
            f"no face was found in any image of {images}; if they are faces, use no detector"
        )
    escalation = _fitted(
        agreement,
        artifact,
        full_artifact,
        max_changed=max_changed,
        folder=images.resolve().name,
        detected=detector is not None,
        runtime=student.runtime.name,
    )
    add_escalation(artifact, escalation)
    return escalation, _warnings(escalation, repeated=repeated, faceless=agreement.faceless)


@dataclass(slots=True, kw_only=True)
class _Agreement:
    """The answers of both models for one face of each image, and how long each computed."""

    answers: list[tuple[Prediction, Prediction]] = field(default_factory=list)
    faceless: int = 0
    student_seconds: float = 0.0
    full_seconds: float = 0.0


def _distinct_images(folder: Path, limits: ImageLimits) -> tuple[list[Path], int]:
    """Return the readable images in and below a folder, each once, and how many are copies.

    A copy of an image tells nothing new, and the bound counts on images that do.
    """
    if not is_folder(folder):
        raise DatasetError(f"{folder} is not a folder; give one of images")
    found = walk_images(folder)
    found.refuse_unreadable()
    found.warn()
    samples = [Sample(name=path.as_posix(), image=path, label=0) for path in found.files]
    checked = check_readable(samples, limits=limits)
    checked.refuse_many_unreadable(max_share=MAX_UNREADABLE)
    if checked.unreadable:
        logger.warning("%s: left out %s", folder, checked.left_out())
    distinct = {checked.digests[sample.name]: sample for sample in checked.readable(samples)}
    paths = sorted(Path(sample.name) for sample in distinct.values())
    return paths, len(checked.digests) - len(paths)


def _measure(
    cascade: Cascade, paths: Sequence[Path], *, on_share: Callable[[float], object]
) -> _Agreement:
    """Ask both models about the largest face of each image, prepared as the cascade does."""
    found = _Agreement()

    def compare(group: list[PreparedImage | MotivNetError]) -> list[bool | MotivNetError]:
        """Return whether each image has a face."""
        pairs = [one.inputs[0] for one in group if isinstance(one, PreparedImage) and one.inputs]
        start = time.perf_counter()
        students = cascade.student.classify([pair.student for pair in pairs])
        middle = time.perf_counter()
        others = cascade.full.classify([pair.full for pair in pairs])
        found.student_seconds += middle - start
        found.full_seconds += time.perf_counter() - middle
        found.answers += zip(students, others, strict=True)
        return [bool(one.inputs) if isinstance(one, PreparedImage) else one for one in group]

    for has_face in cascade.pipeline(paths, compare):
        if isinstance(has_face, MotivNetError):
            raise has_face
        found.faceless += not has_face
        on_share(1 / len(paths))
    return found


def _fitted(
    agreement: _Agreement,
    student: Artifact,
    full: Artifact,
    *,
    max_changed: float,
    folder: str,
    detected: bool,
    runtime: str,
) -> Escalation:
    # One that the student takes for unknown is asked of the full model at any threshold.
    confidence = np.array(
        [
            own.confidence if is_answered_by_student(own, threshold=0.0) else -np.inf
            for own, _ in agreement.answers
        ]
    )
    changed = np.array([own.label != other.label for own, other in agreement.answers], np.bool_)
    chosen = choose_threshold(confidence, changed, max_changed=max_changed)
    sure = sum(own.confidence >= chosen.threshold for own, _ in agreement.answers)
    images = len(agreement.answers)
    return Escalation(
        student=student.manifest.model_identity(),
        full=full.manifest.model_identity(),
        full_name=full.folder.resolve().name,
        labels=student.manifest.labels,
        calibration=calibration_hash(student.manifest),
        threshold=chosen.threshold,
        max_changed=max_changed,
        images=images,
        by_student=chosen.by_student,
        changed=chosen.changed,
        unknown=sure - chosen.by_student,
        student_flop=student.manifest.source.config.flop,
        full_flop=full.manifest.source.config.flop,
        student_ms=agreement.student_seconds / images * 1e3,
        full_ms=agreement.full_seconds / images * 1e3,
        folder=folder,
        detected=detected,
        runtime=runtime,
    )


def _warnings(escalation: Escalation, *, repeated: int, faceless: int) -> list[str]:
    warnings = []
    if repeated:
        warnings.append(f"{counted(repeated, 'image')} left out: copies of others tell nothing new")
    if faceless:
        warnings.append(f"no face was found in {counted(faceless, 'image')}, left out")
    if escalation.mean_flop >= escalation.full_flop:
        warnings.append(
            f"the student answers {escalation.student_share:.0%} of the images, and the cascade "
            "costs more than the full model alone; train the student longer, or raise --max-changed"
        )
    return warnings
