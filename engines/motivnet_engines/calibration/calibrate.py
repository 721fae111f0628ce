"""From a folder of labelled faces to a calibrated artifact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from motivnet.artifact import Artifact, check_free, open_artifact
from motivnet.artifact.model_identity import identity_of_model
from motivnet_engines.calibration.fitting import FittedCalibration, check_counts, fitted_calibration
from motivnet_engines.calibration.labelled_images import (
    LabelledImages,
    LabelledOutputs,
    labelled_images,
    outputs_of_sets,
)
from motivnet_engines.calibration.temperature import HIGHEST
from motivnet_engines.faces.detector import FaceDetector
from motivnet_engines.inference.calibration import (
    CALIBRATION_FILE,
    Calibration,
    CalibrationFacts,
    with_calibration,
)
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.registry import open_runtime

_DOUBTFUL = 0.99
"""The part of the highest temperature from which on it is at its bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationResult:
    """What was measured and written, and one sentence for whatever a person should know of it."""

    facts: CalibrationFacts
    remarks: tuple[str, ...]


def calibrate_artifact(
    folder: Path,
    images: Path,
    *,
    held_out: Path | None = None,
    runtime: str | None = None,
    threads: int | None = None,
    trust_engines: bool = False,
    detector: FaceDetector | None = None,
    on_images: Callable[[int, int], object] = lambda _done, _total: None,
) -> CalibrationResult:
    """Measures the model of an artifact on labelled images, and puts the calibration into the
    artifact.

    Args:
        images: A folder with a folder of images for each class.
        held_out: A second one that the model's distances are judged by; parts of ``images`` if
        None.
        detector: Cuts the faces out, as it will for predictions; each image is a face if None.
        on_images: Hears how many images were finished, and of how many.

    Raises:
        DatasetError: If the folders are not of the model's classes, or hold too few images.
        MotivNetError: As ``open_runtime``, and naming an image that cannot be read.
    """
    artifact = open_artifact(folder)
    check_free(artifact, CALIBRATION_FILE)
    labels = artifact.manifest.labels
    sets = [labelled_images(path, labels=labels) for path in (images, held_out) if path is not None]
    check_counts(sets[0].counts(), held_out=sets[-1].counts())
    opened = open_runtime(artifact, runtime=runtime, threads=threads, trust_engines=trust_engines)
    with EmotionClassifier(opened, artifact.manifest, detector=detector) as classifier:
        outputs = outputs_of_sets(classifier, sets, labels=labels, on_images=on_images)
    fitted = fitted_calibration(outputs[0], held_out=outputs[1] if held_out else None)
    facts = _facts(
        artifact, fitted, sets, outputs, detected=detector is not None, runtime=opened.name
    )
    with_calibration(artifact, Calibration(facts=facts, statistics=fitted.statistics))
    return CalibrationResult(facts=facts, remarks=(*_remarks(sets, outputs), *_doubts(facts)))


def _facts(
    artifact: Artifact,
    fitted: FittedCalibration,
    sets: list[LabelledImages],
    outputs: list[LabelledOutputs],
    *,
    detected: bool,
    runtime: str,
) -> CalibrationFacts:
    return CalibrationFacts(
        model=identity_of_model(artifact.manifest),
        labels=artifact.manifest.labels,
        temperature=fitted.temperature,
        distance_threshold=fitted.distance_threshold,
        error_before=fitted.error_before,
        error_after=fitted.error_after,
        known_share=fitted.known_share,
        accuracy=fitted.accuracy,
        images=outputs[0].counts(),
        held_out=outputs[-1].counts(),
        folder=sets[0].folder.resolve().name,
        held_out_folder=sets[1].folder.resolve().name if len(sets) > 1 else None,
        detected=detected,
        runtime=runtime,
    )


def _doubts(facts: CalibrationFacts) -> list[str]:
    """A temperature at its bound means that the model does not know these images."""
    if facts.temperature < _DOUBTFUL * HIGHEST:
        return []
    return [
        f"the temperature is at its bound, {HIGHEST:.0f}: the model is right on {facts.accuracy:.1%} of these images, "
        "and its probabilities now say next to nothing; calibrate on images like those that it was trained on"
    ]


def _remarks(sets: list[LabelledImages], outputs: list[LabelledOutputs]) -> list[str]:
    left_out = [listed.folder / name for listed in sets for name in listed.skipped]
    missing = [label for label, count in outputs[0].counts().items() if not count]
    remarks = [f"{path} was left out: the model has no such class" for path in left_out]
    if missing:
        remarks.append(
            f"there are no images of {', '.join(missing)}: faces that show it may be taken for unknown"
        )
    if faceless := sum(found.faceless for found in outputs):
        remarks.append(f"no face was found in {faceless} images, which were left out")
    return remarks
