"""Calibrate an artifact on folders of labelled faces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from motivnet.artifact import check_addable, open_artifact
from motivnet.datasets.read import read_class_folders
from motivnet.images import USER_LIMITS, ImageLimits
from motivnet.printable import counted
from motivnet_engines.calibration.fitting import MAX_TEMPERATURE, check_counts, fit_calibration
from motivnet_engines.calibration.labelled_outputs import (
    LabelledOutputs,
    compute_outputs,
    take_readable,
)
from motivnet_engines.faces.detector import FaceDetector
from motivnet_engines.inference.calibration import (
    CALIBRATION_FILE,
    Calibration,
    CalibrationMetadata,
    add_calibration,
)
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.selection import open_runtime


def calibrate_artifact(
    folder: Path,
    images: Path,
    *,
    held_out: Path | None = None,
    runtime: str | None = None,
    threads: int | None = None,
    trust_engines: bool = False,
    detector: FaceDetector | None = None,
    limits: ImageLimits = USER_LIMITS,
    on_share: Callable[[float], object] = lambda _: None,
) -> tuple[CalibrationMetadata, list[str]]:
    """Measure an artifact's model on labelled images, and add the calibration to the artifact.

    Return what was measured and written, and warnings for the user.

    Args:
        images: A folder with a folder of images for each class.
        held_out: A second one to choose temperature and threshold on; 5-fold cross-validation over
            ``images`` if None.
        detector: Crops the faces, as it will for predictions; if None, each image is a face.
        on_share: Called after each image with its share of all.

    Raises:
        DatasetError: If the folders are not of the model's classes, hold too few images, or more
            than a few of them cannot be read.
        MotivNetError: As ``open_runtime``.
    """
    artifact = open_artifact(folder)
    check_addable(artifact, CALIBRATION_FILE)
    labels = artifact.manifest.labels
    sets = [
        take_readable(read_class_folders(path, labels=labels), limits)
        for path in (images, held_out)
        if path is not None
    ]
    check_counts(sets[0].counts(), held_out=sets[-1].counts())
    opened = open_runtime(artifact, runtime=runtime, threads=threads, trust_engines=trust_engines)
    with EmotionClassifier(
        opened, artifact.manifest, detector=detector, limits=limits
    ) as classifier:
        outputs = compute_outputs(classifier, sets, labels=labels, on_share=on_share)
    fitted = fit_calibration(outputs[0], held_out=outputs[1] if held_out else None)
    metadata = CalibrationMetadata(
        model=artifact.manifest.model_identity(),
        labels=labels,
        temperature=fitted.temperature,
        distance_threshold=fitted.distance_threshold,
        error_before=fitted.error_before,
        error_after=fitted.error_after,
        known_share=fitted.known_share,
        accuracy=fitted.accuracy,
        images=outputs[0].counts(),
        held_out=outputs[-1].counts(),
        folder=images.resolve().name,
        held_out_folder=held_out.resolve().name if held_out else None,
        detected=detector is not None,
        runtime=opened.name,
    )
    had_escalation = open_artifact(folder).manifest.escalation is not None
    add_calibration(artifact, Calibration(metadata=metadata, statistics=fitted.statistics))
    warnings = _warnings(outputs, metadata)
    if had_escalation:
        warnings.append(
            "the escalation was fitted with the older confidences and went with them; "
            f"make it again with: motivnet calibrate --escalate FULL {folder} FOLDER"
        )
    return metadata, warnings


def _warnings(outputs: Sequence[LabelledOutputs], metadata: CalibrationMetadata) -> list[str]:
    warnings = []
    if missing := [label for label, count in metadata.images.items() if not count]:
        warnings.append(
            f"there are no images of {', '.join(missing)}: "
            "faces that show it may be taken for unknown"
        )
    if faceless := sum(found.faceless for found in outputs):
        warnings.append(f"no face was found in {counted(faceless, 'image')}, left out")
    if metadata.temperature >= 0.99 * MAX_TEMPERATURE:
        # The model does not know these images.
        warnings.append(
            f"the temperature is at its bound, {MAX_TEMPERATURE:.0f}: the model is right on "
            f"{metadata.accuracy:.1%} of these images, and its probabilities now say next to "
            "nothing; calibrate on images like those that it was trained on"
        )
    return warnings
