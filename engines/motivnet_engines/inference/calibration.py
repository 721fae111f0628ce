"""A calibration: a temperature and a distance threshold, stored as a file of the artifact."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from motivnet.array_files import decode_npz, encode_npz
from motivnet.artifact import Artifact, link_files, open_artifact, own_files_except_reports
from motivnet.artifact.manifest import FILE_NAME, FileEntry, Manifest, ModelIdentity
from motivnet.errors import ArtifactError, ConfigError, FileError
from motivnet.folders import atomic_folder
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

    The manifest is read again first, because a measurement takes long and other commands may have
    written to it meanwhile. Files in the artifact's folder that its manifest does not list stay.

    Raises:
        ArtifactError: If the folder holds another model by now.
        FileError: If the artifact's folder cannot be written.
    """
    content = calibration.to_bytes()
    with atomic_folder(artifact.folder, own=own_files_except_reports, others="keep") as temporary:
        current = open_artifact(artifact.folder)
        _check(calibration, current.manifest)
        replaced = {CALIBRATION_FILE, current.manifest.calibration}
        kept = tuple(entry for entry in current.manifest.files if entry.path not in replaced)
        entry = FileEntry(
            path=CALIBRATION_FILE, size=len(content), sha256=hashlib.sha256(content).hexdigest()
        )
        manifest = msgspec.structs.replace(
            current.manifest, files=(*kept, entry), calibration=CALIBRATION_FILE
        )
        link_files(current, [file.path for file in kept], temporary)
        (temporary / CALIBRATION_FILE).write_bytes(content)
        (temporary / FILE_NAME).write_bytes(manifest.to_json())
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
