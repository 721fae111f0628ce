"""What is known of an artifact, for a model card (Mitchell et al. 2019, arXiv 1810.03993).

A card has figures of two kinds alone: those of the artifact's manifest, and those of reports that
``motivnet-bench`` wrote. Whatever nobody measured is named as not measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypeVar

from motivnet.artifact import open_artifact
from motivnet.artifact.manifest import Manifest
from motivnet.checkpoints import load_checkpoint
from motivnet.errors import ConfigError, MotivNetError
from motivnet.files import read_bytes
from motivnet.schema import SchemaError, decode
from motivnet_bench.accuracy import AccuracyResult
from motivnet_bench.groups.measure import GroupsResult
from motivnet_bench.latency.result import MAX_BYTES, LatencyResult
from motivnet_bench.robustness.measure import RobustnessResult
from motivnet_engines.inference.calibration import CalibrationMetadata, calibration_of_artifact

Measured: TypeAlias = LatencyResult | AccuracyResult | GroupsResult | RobustnessResult

_Result = TypeVar("_Result", LatencyResult, AccuracyResult, GroupsResult, RobustnessResult)

_KINDS: dict[str, type[Measured]] = {
    "latency": LatencyResult,
    "accuracy": AccuracyResult,
    "groups": GroupsResult,
    "robustness": RobustnessResult,
}

_TRAINING = {
    "encoder": "Encoder's weights from",
    "encoder_sha256": "SHA-256 of these",
    "teacher": "Teacher",
    "teacher_sha256": "SHA-256 of the teacher",
    "licence": "Licence",
    "dataset": "Trained on",
    "format": "Format",
    "training_images": "Training images",
    "validation_images": "Validation images",
    "epoch": "Epoch",
    "seed": "Seed",
}
"""What a checkpoint of ``motivnet-train`` says of its training, which a card repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """All that a card is written from.

    Attributes:
        name: Of the artifact's folder.
        training: What the checkpoint says of its training, by what it is; empty without one.
        measured: Reports by the name of their file, with its folder's where names are alike.
    """

    name: str
    manifest: Manifest
    calibration: CalibrationMetadata | None = None
    training: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, Measured] = field(default_factory=dict)

    def of_kind(self, kind: type[_Result]) -> dict[str, _Result]:
        """Return the reports of one kind, by the name of their file."""
        return {name: each for name, each in self.measured.items() if isinstance(each, kind)}


def read_card(
    folder: Path, *, reports: Iterable[Path] = (), checkpoint: Path | None = None
) -> Card:
    """Return what is known of an artifact: its files are checked, and its own reports are read.

    Args:
        reports: Files of ``motivnet-bench``, besides those in the artifact.
        checkpoint: The artifact's, which says what it was trained on.

    Raises:
        ArtifactError: If the folder is not an artifact, or damaged.
        ConfigError: If a report is none, or of another artifact, or the checkpoint is another one.
        FileError: If a file cannot be read.
    """
    artifact = open_artifact(folder)
    artifact.verify_files()
    manifest, name = artifact.manifest, folder.resolve().name
    own = [folder / entry.path for entry in manifest.reports if entry.path.endswith(".json")]
    measured: dict[Path, Measured] = {}
    for file in dict.fromkeys(map(Path.absolute, (*own, *reports))):
        found = _read_report(file)
        if found is None and file.parent == folder.absolute():
            continue  # such as a viability report: of a checkpoint, and not of this artifact
        if found is None:
            raise ConfigError(
                f"{file} is no report that a card takes: give the JSON of motivnet-bench latency, "
                "accuracy, groups or robustness"
            )
        _check_same(found, name, manifest, file)
        measured[file] = found
    calibration = calibration_of_artifact(artifact)
    return Card(
        name=name,
        manifest=manifest,
        calibration=None if calibration is None else calibration.metadata,
        training=_read_training(checkpoint, manifest),
        measured={_short(file, measured): each for file, each in measured.items()},
    )


def _read_report(file: Path) -> Measured | None:
    data = read_bytes(file, max_bytes=MAX_BYTES)
    try:
        kind = _KINDS.get(str(decode(data, dict, max_bytes=MAX_BYTES).get("kind")))
    except SchemaError as error:
        raise ConfigError(f"{file} is not JSON: {error}") from error
    if kind is None:
        return None
    try:
        return decode(data, kind, max_bytes=MAX_BYTES)
    except SchemaError as error:
        raise ConfigError(f"{file} is not a report of this version: {error}") from error


def _check_same(found: Measured, name: str, manifest: Manifest, file: Path) -> None:
    """Refuse a report of other weights; where it does not identify them, of another name."""
    of = found.target.name if isinstance(found, LatencyResult) else found.artifact
    model = None if isinstance(found, LatencyResult) else found.model
    if model is None and of != name:
        raise ConfigError(f"{file} is a report of {of}, and not of {name}")
    if model is not None and model != manifest.model_identity():
        raise ConfigError(
            f"{file} is a report of other weights than those of {name}; measure again"
        )


def _short(file: Path, files: Iterable[Path]) -> str:
    """Return as much of a path's end as tells it from the others: no folder of a machine."""
    length = 1
    while sum(each.parts[-length:] == file.parts[-length:] for each in files) > 1:
        length += 1
    return "/".join(file.parts[-length:])


def _read_training(checkpoint: Path | None, manifest: Manifest) -> dict[str, str]:
    if checkpoint is None:
        return {}
    from motivnet.checkpoints.shards import sha256_of_weights

    if sha256_of_weights(checkpoint) != manifest.source.sha256:
        raise ConfigError(
            f"{checkpoint} is not the artifact's checkpoint, {manifest.source.checkpoint}"
        )
    try:
        metadata = load_checkpoint(checkpoint, quiet=True).metadata
    except MotivNetError as error:
        raise ConfigError(str(error)) from error
    return {
        title: metadata[name]
        for name, title in _TRAINING.items()
        if metadata.get(name, "none") != "none"
    }
