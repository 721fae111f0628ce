"""A calibration as a file of the artifact whose model it is about."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.array_files import npz_from, read_npz
from motivnet.artifact import Artifact, open_artifact, own_files_but_reports
from motivnet.artifact.copying import link_files
from motivnet.artifact.manifest import FILE_NAME, FileEntry, Manifest
from motivnet.artifact.model_identity import ModelIdentity, identity_of_model
from motivnet.errors import ArtifactError, ConfigError, FileError
from motivnet.files import atomic_folder
from motivnet_engines.inference.class_statistics import ClassStatistics
from motivnet_engines.inference.whitening import Whitening

CALIBRATION_FILE = "calibration.npz"
_ARRAYS = ("mean", "matrix", "means")


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFacts:
    """What was measured, with which runtime, and on what.

    ``images`` counts those that the statistics are of, by label; ``held_out`` those that
    temperature and threshold were chosen on, the same where ``held_out_folder`` is None.
    ``detected`` tells whether a detector cut the faces out.
    """

    format_version: Literal[1] = 1
    model: ModelIdentity
    labels: tuple[str, ...]
    temperature: float
    distance_threshold: float
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
        if self.temperature <= 0 or self.distance_threshold <= 0:
            raise ConfigError("a temperature and a threshold of distances must be positive")
        if tuple(self.images) != self.labels or tuple(self.held_out) != self.labels:
            raise ConfigError("the counts of images are not by the labels")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """The facts and the statistics of the classes."""

    facts: CalibrationFacts
    statistics: ClassStatistics

    @property
    def temperature(self) -> float:
        """What logits are divided by before the softmax."""
        return self.facts.temperature

    @property
    def distance_threshold(self) -> float:
        """The distance that 95 % of the held-out images do not exceed."""
        return self.facts.distance_threshold

    def distances(self, embedding: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mahalanobis distances ``(B,)`` of embeddings ``(B, width)`` from their nearest class.

        A row's distance does not depend on the rows beside it.
        """
        return self.statistics.distances(embedding)

    def to_bytes(self) -> bytes:
        """The content of ``calibration.npz``."""
        whitening = self.statistics.whitening
        arrays = {
            "mean": whitening.mean,
            "matrix": whitening.matrix,
            "means": self.statistics.means,
        }
        return npz_from(self.facts, arrays)


def calibration_of_artifact(artifact: Artifact) -> Calibration | None:
    """The calibration that lies in an artifact, its hash and its shapes checked; None where there
    is none.

    Raises:
        ArtifactError: If it is damaged, or is of another model.
    """
    path = artifact.manifest.calibration
    if path is None:
        return None
    try:
        facts, arrays = read_npz(artifact.file_bytes(path), CalibrationFacts, names=_ARRAYS)
    except FileError as error:
        raise ArtifactError(f"{path} {error}; make it again with: motivnet calibrate") from error
    whitening = Whitening(mean=arrays["mean"], matrix=arrays["matrix"])
    calibration = Calibration(
        facts=facts, statistics=ClassStatistics(whitening=whitening, means=arrays["means"])
    )
    _check(calibration, artifact.manifest)
    return calibration


def with_calibration(artifact: Artifact, calibration: Calibration) -> Artifact:
    """The artifact with this calibration in it, in the place of an older one; nothing changes if
    anything fails.

    The manifest is read anew, because a measurement takes long and others may have written theirs
    meanwhile. Files in the artifact's folder that its manifest does not list stay.

    Raises:
        ArtifactError: If the artifact is of another model by now.
        FileError: If the artifact's folder cannot be written.
    """
    content = calibration.to_bytes()
    with atomic_folder(artifact.folder, own=own_files_but_reports, others="keep") as temporary:
        current = open_artifact(artifact.folder)
        _check(calibration, current.manifest)
        kept = tuple(
            entry
            for entry in current.manifest.files
            if entry.path not in _own_paths(current.manifest)
        )
        entry = FileEntry(
            path=CALIBRATION_FILE, size=len(content), sha256=hashlib.sha256(content).hexdigest()
        )
        manifest = replace(current.manifest, files=(*kept, entry), calibration=CALIBRATION_FILE)
        link_files(current, [file.path for file in kept], temporary)
        (temporary / CALIBRATION_FILE).write_bytes(content)
        (temporary / FILE_NAME).write_bytes(manifest.to_json())
    return open_artifact(artifact.folder)


def _own_paths(manifest: Manifest) -> set[str]:
    return (
        {CALIBRATION_FILE}
        if manifest.calibration is None
        else {CALIBRATION_FILE, manifest.calibration}
    )


def _check(calibration: Calibration, manifest: Manifest) -> None:
    facts, statistics = calibration.facts, calibration.statistics
    if facts.model != identity_of_model(manifest) or facts.labels != manifest.labels:
        raise ArtifactError(
            "the calibration is of another model; make one of this with: motivnet calibrate"
        )
    width = manifest.source.config.encoder.embed_dim
    classes = sum(count > 0 for count in facts.images.values())
    wanted = {"mean": (width,), "matrix": (width, width), "means": (classes, width)}
    found = {
        "mean": statistics.whitening.mean,
        "matrix": statistics.whitening.matrix,
        "means": statistics.means,
    }
    for name, shape in wanted.items():
        if found[name].shape != shape or not classes:
            raise ArtifactError(
                f"{name} of the calibration has the shape {found[name].shape} and not {shape}; "
                "make it again with: motivnet calibrate"
            )
