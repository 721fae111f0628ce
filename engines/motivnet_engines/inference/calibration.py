"""A calibration: a temperature and a distance threshold, stored as a file of the artifact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from motivnet.array_files import decode_npz, encode_npz
from motivnet.artifact import Artifact, add_file, open_artifact
from motivnet.artifact.manifest import Manifest, ModelIdentity
from motivnet.errors import ArtifactError, ConfigError, FileError
from motivnet.schema import Schema
from motivnet_engines.inference.class_statistics import ClassStatistics, Whitening

CALIBRATION_FILE = "calibration.npz"
_ADVICE = "make it again with: motivnet calibrate"

_Positive = Annotated[float, msgspec.Meta(gt=0)]


class CalibrationMetadata(Schema, frozen=True, kw_only=True):
    """What was measured, with which runtime, and on which images.

    ``images`` counts by label the images behind the statistics. ``held_out`` counts those behind
    temperature and threshold: the same images, by cross-validation, if ``held_out_folder`` is None.
    ``detected`` tells whether a detector cropped the faces.
    """

    format_version: Literal[1] = 1
    model: ModelIdentity
    labels: tuple[str, ...]
    temperature: _Positive
    distance_threshold: _Positive
    error_before: float
    error_after: float
    known_share: float
    accuracy: float
    images: dict[str, int]
    held_out: dict[str, int]
    folder: str
    held_out_folder: str | None
    detected: bool
    runtime: str

    def __post_init__(self) -> None:
        if tuple(self.images) != self.labels or tuple(self.held_out) != self.labels:
            raise ConfigError("the counts of images do not match the labels")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """The metadata, and the statistics of the classes."""

    metadata: CalibrationMetadata
    statistics: ClassStatistics

    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The arrays of the statistics, by their name in the file."""
        whitening = self.statistics.whitening
        return {"mean": whitening.mean, "matrix": whitening.matrix, "means": self.statistics.means}

    def to_bytes(self) -> bytes:
        """Return the content of ``calibration.npz``."""
        return encode_npz(self.metadata, self.arrays)


def calibration_of_artifact(artifact: Artifact) -> Calibration | None:
    """Return the calibration in an artifact, its hash and shapes checked, or None without one.

    Raises:
        ArtifactError: If it is damaged, or was made for another model.
    """
    path = artifact.manifest.calibration
    if path is None:
        return None
    try:
        metadata, arrays = decode_npz(
            artifact.file_bytes(path), CalibrationMetadata, names=("mean", "matrix", "means")
        )
    except FileError as error:
        raise ArtifactError(f"{path} {error}; {_ADVICE}") from error
    whitening = Whitening(mean=arrays["mean"], matrix=arrays["matrix"])
    statistics = ClassStatistics(whitening=whitening, means=arrays["means"])
    calibration = Calibration(metadata=metadata, statistics=statistics)
    _check(calibration, artifact.manifest)
    return calibration


def add_calibration(artifact: Artifact, calibration: Calibration) -> Artifact:
    """Put a calibration into an artifact, in place of an older one; on failure nothing changes.

    An escalation that was fitted with the older one goes with it.

    Raises:
        ArtifactError: If the folder holds another model by now.
        FileError: If the artifact's folder cannot be written.
    """

    def with_calibration(manifest: Manifest) -> Manifest:
        _check(calibration, manifest)
        replaced = {manifest.calibration, manifest.escalation} - {CALIBRATION_FILE}
        return msgspec.structs.replace(
            manifest,
            files=tuple(entry for entry in manifest.files if entry.path not in replaced),
            calibration=CALIBRATION_FILE,
            escalation=None,
        )

    add_file(artifact.folder, CALIBRATION_FILE, calibration.to_bytes(), change=with_calibration)
    return open_artifact(artifact.folder)


def _check(calibration: Calibration, manifest: Manifest) -> None:
    metadata = calibration.metadata
    if metadata.model != manifest.model_identity() or metadata.labels != manifest.labels:
        raise ArtifactError(
            "the calibration is of another model; make one of this with: motivnet calibrate"
        )
    width = manifest.source.config.encoder.embed_dim
    classes = sum(count > 0 for count in metadata.images.values())
    shapes = {"mean": (width,), "matrix": (width, width), "means": (classes, width)}
    for name, array in calibration.arrays.items():
        if array.shape != shapes[name] or not classes:
            raise ArtifactError(
                f"{name} of the calibration has the shape {array.shape} and not {shapes[name]}; "
                f"{_ADVICE}"
            )
