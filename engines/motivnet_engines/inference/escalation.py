"""The escalation of a cascade: when a student asks the full model, as a file of its artifact.

It is no part of the calibration: that needs labels and knows one model, this needs none and knows
two, and either can be made again without the other's images. A student whose calibration changes
has other confidences, so the escalation names the calibration that it was fitted with.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from motivnet import schema
from motivnet.artifact import Artifact, add_file, open_artifact
from motivnet.artifact.engine_entry import Sha256
from motivnet.artifact.manifest import Manifest, ModelIdentity
from motivnet.errors import ArtifactError, ConfigError
from motivnet.schema import Schema, SchemaError

ESCALATION_FILE = "escalation.json"
CONFIDENCE_LEVEL = 0.95
"""Of the bound on the share of changed answers."""

_ADVICE = "make it again with: motivnet calibrate --escalate FULL STUDENT FOLDER"

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]


class Escalation(Schema, frozen=True, kw_only=True):
    """When the student answers, the bound on what that changes, and how both were measured.

    The student answers a face if its confidence is at least ``threshold`` and the face is not
    beyond the distance threshold of its calibration, if it has one. An answer is changed if its
    emotion is not that of the full model. With a confidence of 95 %, at most ``max_changed`` of
    all answers are changed on images like those that this was measured on.

    Attributes:
        full_name: The name of the full model's folder.
        calibration: SHA-256 of the student's calibration, None if it had none.
        images: Faces that were measured, one per image.
        by_student: How many of them the student answers.
        changed: How many of those answers are changed.
        unknown: How many of the others have the confidence and are beyond the distance threshold.
        student_flop, full_flop: Floating-point operations per face.
        student_ms, full_ms: Milliseconds per face in the batches of the measurement.
        detected: Whether a detector cropped the faces.
    """

    format_version: Literal[1] = 1
    student: ModelIdentity
    full: ModelIdentity
    full_name: str
    labels: tuple[str, ...]
    calibration: Sha256 | None
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)]
    max_changed: _Share
    confidence_level: _Share = CONFIDENCE_LEVEL
    images: Annotated[int, msgspec.Meta(ge=1)]
    by_student: _Count
    changed: _Count
    unknown: _Count
    student_flop: Annotated[int, msgspec.Meta(ge=1)]
    full_flop: Annotated[int, msgspec.Meta(ge=1)]
    student_ms: float
    full_ms: float
    folder: str
    detected: bool
    runtime: str

    def __post_init__(self) -> None:
        if not self.changed <= self.by_student <= self.images - self.unknown:
            raise ConfigError("the counts of an escalation do not fit each other")

    @property
    def student_share(self) -> float:
        """The share of the measured faces that the student answers."""
        return self.by_student / self.images

    @property
    def mean_flop(self) -> float:
        """Floating-point operations per face: the student's, and the full model's where asked."""
        return self.student_flop + (1 - self.student_share) * self.full_flop

    @property
    def mean_ms(self) -> float:
        """Milliseconds per face, counted in the same way."""
        return self.student_ms + (1 - self.student_share) * self.full_ms


def escalation_of_artifact(artifact: Artifact) -> Escalation | None:
    """Return the escalation in an artifact, its hash checked, or None without one.

    Raises:
        ArtifactError: If it is damaged, of another model, or fitted with another calibration.
    """
    path = artifact.manifest.escalation
    if path is None:
        return None
    try:
        escalation = schema.decode(artifact.file_bytes(path), Escalation)
    except (SchemaError, ConfigError) as error:
        raise ArtifactError(f"{path} is not valid: {error}; {_ADVICE}") from error
    _check(escalation, artifact.manifest)
    return escalation


def add_escalation(artifact: Artifact, escalation: Escalation) -> Artifact:
    """Put an escalation into an artifact, in place of an older one; on failure nothing changes.

    Raises:
        ArtifactError: If the folder holds another model or another calibration by now.
        FileError: If the artifact's folder cannot be written.
    """

    def with_escalation(manifest: Manifest) -> Manifest:
        _check(escalation, manifest)
        replaced = {manifest.escalation} - {ESCALATION_FILE}
        files = tuple(entry for entry in manifest.files if entry.path not in replaced)
        return msgspec.structs.replace(manifest, files=files, escalation=ESCALATION_FILE)

    add_file(artifact.folder, ESCALATION_FILE, schema.encode(escalation), change=with_escalation)
    return open_artifact(artifact.folder)


def calibration_hash(manifest: Manifest) -> str | None:
    """Return the SHA-256 of an artifact's calibration, None if it has none."""
    return None if manifest.calibration is None else manifest.entry(manifest.calibration).sha256


def check_models(student: Artifact, full: Artifact) -> None:
    """Refuse a full model that is the student itself or has other labels.

    Raises:
        ConfigError: Naming both artifacts.
    """
    if student.manifest.model_identity() == full.manifest.model_identity():
        raise ConfigError(
            f"{full.folder} is the same model as {student.folder}; "
            "give --escalate the larger model that the student is to ask"
        )
    if student.manifest.labels != full.manifest.labels:
        raise ConfigError(
            f"{full.folder} has the classes {', '.join(full.manifest.labels)}, and "
            f"{student.folder} has {', '.join(student.manifest.labels)}; a cascade needs the same, "
            "in one order"
        )


def _check(escalation: Escalation, manifest: Manifest) -> None:
    if escalation.student != manifest.model_identity() or escalation.labels != manifest.labels:
        raise ArtifactError(f"the escalation is of another model; {_ADVICE}")
    if escalation.calibration != calibration_hash(manifest):
        raise ArtifactError(
            "the student's calibration is another than its escalation was fitted with; " + _ADVICE
        )
