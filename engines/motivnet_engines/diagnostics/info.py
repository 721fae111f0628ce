"""What an artifact is and what can run it here, in one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.manifest import Manifest
from motivnet.errors import MotivNetError
from motivnet_engines.inference.calibration import CalibrationFacts, calibration_of_artifact
from motivnet_engines.runtimes.own_engines import strange_engine, way_to_trust
from motivnet_engines.runtimes.registry import (
    RUNTIMES,
    Verdict,
    check_possible,
    is_default_choice,
    verdict,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeStatus:
    """One runtime: what the gate said of it, and why it does not open the artifact here (None if it does)."""

    name: str
    verdict: Verdict
    obstacle: str | None
    default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactInfo:
    """An artifact's folder, its manifest, the state of every runtime, and what a calibration measured."""

    folder: str
    manifest: Manifest
    runtimes: tuple[RuntimeStatus, ...]
    calibration: CalibrationFacts | None

    @property
    def size(self) -> int:
        """Bytes of all files that the manifest names."""
        return sum(entry.size for entry in self.manifest.files)


def artifact_info(folder: Path | str, *, trust_engines: bool = False) -> ArtifactInfo:
    """What the manifest of an artifact says, and which runtimes can open it here.

    Raises:
        ArtifactError: If the folder is not an artifact, its manifest is not valid or its files are
        damaged.
    """
    artifact = open_artifact(folder)
    artifact.verify_files()
    manifest = artifact.manifest
    obstacles = {name: _obstacle(name, artifact, trust_engines=trust_engines) for name in RUNTIMES}
    choices = (
        name for name in RUNTIMES if obstacles[name] is None and is_default_choice(manifest, name)
    )
    default = next(choices, None)
    statuses = tuple(
        RuntimeStatus(
            name=name,
            verdict=verdict(manifest, name),
            obstacle=obstacles[name],
            default=name == default,
        )
        for name in RUNTIMES
    )
    calibration = calibration_of_artifact(artifact)
    return ArtifactInfo(
        folder=str(folder),
        manifest=manifest,
        runtimes=statuses,
        calibration=None if calibration is None else calibration.facts,
    )


def _obstacle(name: str, artifact: Artifact, *, trust_engines: bool) -> str | None:
    try:
        check_possible(name, artifact.manifest)
    except MotivNetError as error:
        return str(error)
    if not trust_engines and strange_engine(artifact, name):
        return f"this user did not build it on this machine; {way_to_trust(f'--runtime {name}')}"
    return None
