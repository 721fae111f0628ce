"""How close a student is to the model that taught it: in its checkpoint and its manifest."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from motivnet.artifact.engine_entry import Sha256
from motivnet.config import ModelConfig
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


class DistanceFidelity(Schema, frozen=True, kw_only=True):
    """How well the Mahalanobis distance tells ``images`` unknown images from the model's faces.

    Both shares are areas under the ROC curve, the one of the teacher as a comparison: a teacher
    whose distance tells nothing gives 0.5, and its student may be on either side of that. None if
    the embeddings allow no distance.
    """

    unknown: _Text
    images: _Count
    auroc: _Share | None
    teacher_auroc: _Share | None


class Fidelity(Schema, frozen=True, kw_only=True):
    """A student compared with its teacher, in FP32, on images that it has not learnt from.

    Nothing is chosen by these images: the student is what the last epoch left.

    Attributes:
        image_size: (height, width) of the student's input when it was compared.
        measured_on: The split of the images; ``validation`` also chose the temperature.
        images: How many images; of the model's classes where the data has labels.
        kl: Mean Kullback-Leibler divergence of the student's probabilities from the teacher's, in
            nats.
        calibration_error: Expected calibration error of the student against ``calibrated_on``.
        accuracy: Of the student, None without labels.
        distances: By kind of unknown images.
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
    distances: tuple[DistanceFidelity, ...]
    temperature: Annotated[float, Meta(gt=0)]

    def __post_init__(self) -> None:
        kinds = [each.unknown for each in self.distances]
        texts = (self.teacher.checkpoint, self.teacher.licence, *kinds)
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


def describe_fidelity(fidelity: Fidelity | None, model: ModelConfig) -> dict[str, str]:
    """Return the report as named lines, none without a report.

    Args:
        model: The student, which may have been built for another size than it was compared at.
    """
    if fidelity is None:
        return {}
    teacher, where = fidelity.teacher, f"{fidelity.images:,} {fidelity.measured_on} images"
    resized = ""
    if model.encoder.image_size != fidelity.image_size:
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
    return {
        "taught by": f"{teacher.checkpoint}, SHA-256 {teacher.sha256}, "
        f"{teacher.flop / model.flop:.1f} times the FLOP",
        "licence": teacher.licence,
        "fidelity": f"agrees with its teacher on {fidelity.agreement:.1%} of {where}{resized}, "
        f"KL {fidelity.kl:.4f} nats, {error}{right}",
        "agreement": classes,
        "distance": "; ".join(
            f"AUROC {_number(each.auroc)} (teacher {_number(each.teacher_auroc)}) against "
            f"{each.images} {each.unknown}"
            for each in fidelity.distances
        ),
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
