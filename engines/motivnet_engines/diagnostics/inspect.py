"""What an artifact is, and which runtimes can open it here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.manifest import Manifest
from motivnet.errors import MotivNetError
from motivnet_engines.inference.calibration import CalibrationMetadata, calibration_of_artifact
from motivnet_engines.runtimes.own_engines import trust_advice, untrusted_engine
from motivnet_engines.runtimes.registry import RUNTIMES, check_possible
from motivnet_engines.runtimes.selection import ParityStatus, is_default_choice, parity_status


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeStatus:
    """A runtime: its parity status, and what it lacks to open the artifact, None if nothing."""

    name: str
    parity: ParityStatus
    missing_requirement: str | None
    default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """An artifact's folder and manifest, the status of each runtime, and its calibration."""

    folder: str
    manifest: Manifest
    runtimes: tuple[RuntimeStatus, ...]
    calibration: CalibrationMetadata | None

    @property
    def size(self) -> int:
        """Bytes of all files that the manifest names."""
        return sum(entry.size for entry in self.manifest.files)


def inspect_artifact(folder: Path | str, *, trust_engines: bool = False) -> Inspection:
    """Return the content of an artifact's manifest, and which runtimes can open it here.

    Raises:
        ArtifactError: If the folder is not an artifact, its manifest is not valid or its files are
            damaged.
    """
    artifact = open_artifact(folder)
    artifact.verify_files()
    manifest = artifact.manifest
    statuses: list[RuntimeStatus] = []
    has_default = False
    for name in RUNTIMES:
        missing = _missing_requirement(name, artifact, trust_engines=trust_engines)
        is_default = not has_default and missing is None and is_default_choice(manifest, name)
        has_default = has_default or is_default
        statuses.append(
            RuntimeStatus(
                name=name,
                parity=parity_status(manifest, name),
                missing_requirement=missing,
                default=is_default,
            )
        )
    calibration = calibration_of_artifact(artifact)
    return Inspection(
        folder=str(folder),
        manifest=manifest,
        runtimes=tuple(statuses),
        calibration=None if calibration is None else calibration.metadata,
    )


def _missing_requirement(name: str, artifact: Artifact, *, trust_engines: bool) -> str | None:
    try:
        check_possible(name, artifact.manifest)
    except MotivNetError as error:
        return str(error)
    if not trust_engines and untrusted_engine(artifact, name):
        return f"this user did not build it on this machine; {trust_advice(f'--runtime {name}')}"
    return None
