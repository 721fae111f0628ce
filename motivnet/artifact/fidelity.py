"""How close a student is to the model that taught it: in its checkpoint and its manifest."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from motivnet.artifact.engine_entry import Sha256
from motivnet.errors import ArtifactError
from motivnet.labels import is_label
from motivnet.schema import Schema, SchemaError, decode

METADATA = "fidelity"
"""The key of the report, as JSON, in the metadata of a student's checkpoint."""

_Count = Annotated[int, Meta(ge=0)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Text = Annotated[str, Meta(max_length=1_000)]
_Side = Annotated[int, Meta(ge=1)]


class Teacher(Schema, frozen=True, kw_only=True):
    """The checkpoint that taught: the name and hash of its file, its FLOP per image, its licence.

    ``licence`` is a sentence, because no weights file states its own licence.
    """

    checkpoint: Annotated[str, Meta(max_length=255)]
    sha256: Sha256
    flop: _Count
    licence: _Text


class ClassAgreement(Schema, frozen=True, kw_only=True):
    """Of the images to which the teacher gives a class, the share that get it from the student."""

    images: _Count
    agreement: _Share | None


class Fidelity(Schema, frozen=True, kw_only=True):
    """A student compared with its teacher, in FP32, on images that it has not learnt from.

    Attributes:
        image_size: (height, width) of the student's input when it was compared.
        measured_on: ``validation`` also chose the epoch of the weights; ``test`` chose nothing.
        images: How many images; of the model's classes where the data has labels.
        kl: Mean Kullback-Leibler divergence of the student's probabilities from the teacher's, in
            nats.
        calibration_error: Expected calibration error of the student against ``calibrated_on``.
        accuracy: Of the student, None without labels.
        distance_auroc: How well the Mahalanobis distance tells ``unknown`` images from the others,
            as area under the ROC curve; None if the embeddings allow no distance.
        unknown: What the unknown images are, and ``unknown_images`` how many.
        temperature: At which the student learnt the teacher's probabilities.
    """

    teacher: Teacher
    image_size: tuple[_Side, _Side]
    measured_on: Literal["validation", "test"]
    images: Annotated[int, Meta(ge=1)]
    agreement: _Share
    by_class: dict[str, ClassAgreement]
    kl: Annotated[float, Meta(ge=0)]
    calibration_error: _Share
    calibrated_on: Literal["labels", "the teacher's answers"]
    accuracy: _Share | None
    teacher_accuracy: _Share | None
    distance_auroc: _Share | None
    teacher_distance_auroc: _Share | None
    unknown: _Text
    unknown_images: _Count
    temperature: Annotated[float, Meta(gt=0)]

    def __post_init__(self) -> None:
        texts = (self.teacher.checkpoint, self.teacher.licence, self.unknown)
        if not all(text.isprintable() for text in texts) or set(self.teacher.checkpoint) & {*"/\\"}:
            raise ArtifactError("the fidelity report has a text that cannot be printed")
        if unfit := [label for label in self.by_class if not is_label(label)]:
            raise ArtifactError(f"the fidelity report has the class {unfit[0][:80]!r}")


def fidelity_from_metadata(metadata: dict[str, str]) -> Fidelity | None:
    """Return the report in a checkpoint's metadata, None if it is not a student.

    Raises:
        ArtifactError: If the report is not valid.
    """
    if METADATA not in metadata:
        return None
    try:
        return decode(metadata[METADATA].encode(), Fidelity)
    except SchemaError as error:
        raise ArtifactError(f"the checkpoint's fidelity report is not valid: {error}") from error


def describe_fidelity(fidelity: Fidelity, *, flop: int, size: tuple[int, int]) -> dict[str, str]:
    """Return the report as named lines.

    Args:
        flop: Of the student per image.
        size: (height, width) of the input of what is described.
    """
    teacher, where = fidelity.teacher, f"{fidelity.images:,} {fidelity.measured_on} images"
    resized = ""
    if size != fidelity.image_size:
        resized = f", measured at {fidelity.image_size[0]}x{fidelity.image_size[1]}"
    classes = ", ".join(
        f"{label} {entry.agreement:.1%} of {entry.images}"
        for label, entry in fidelity.by_class.items()
        if entry.agreement is not None
    )
    error = f"calibration error {fidelity.calibration_error:.3f} ({fidelity.calibrated_on})"
    right = ""
    if fidelity.accuracy is not None and fidelity.teacher_accuracy is not None:
        right = f", accuracy {fidelity.accuracy:.1%} (teacher {fidelity.teacher_accuracy:.1%})"
    lines = {
        "taught by": f"{teacher.checkpoint}, SHA-256 {teacher.sha256}, "
        f"{teacher.flop / flop:.1f} times the FLOP",
        "licence": teacher.licence,
        "fidelity": f"agrees with its teacher on {fidelity.agreement:.1%} of {where}{resized}, "
        f"KL {fidelity.kl:.4f} nats, {error}{right}",
        "agreement": classes,
    }
    if fidelity.distance_auroc is not None:
        lines["distance"] = (
            f"AUROC {fidelity.distance_auroc:.3f} (teacher "
            f"{_number(fidelity.teacher_distance_auroc)}) "
            f"against {fidelity.unknown_images} unknown images: {fidelity.unknown}"
        )
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
