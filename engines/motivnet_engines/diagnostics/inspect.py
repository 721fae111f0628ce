"""What an artifact is, and which runtimes can open it here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.manifest import Manifest
from motivnet.errors import MotivNetError
from motivnet_engines.browser.folder import is_web_folder
from motivnet_engines.inference.calibration import CalibrationMetadata, calibration_of_artifact
from motivnet_engines.inference.escalation import Escalation, escalation_of_artifact
from motivnet_engines.runtimes.own_engines import trust_advice, untrusted_engine
from motivnet_engines.runtimes.registry import (
    IN_BROWSER,
    RUNTIMES,
    check_browser,
    check_possible,
)
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
    """An artifact's folder and manifest, the status of each runtime, and what was calibrated."""

    folder: str
    manifest: Manifest
    runtimes: tuple[RuntimeStatus, ...]
    calibration: CalibrationMetadata | None
    escalation: Escalation | None


def inspect_artifact(folder: Path | str, *, trust_engines: bool = False) -> Inspection:
    """Return the content of an artifact's manifest, and which runtimes can open it here.

    Raises:
        ArtifactError: If the folder is not an artifact, its manifest is not valid or its files are
            damaged.
    """
    artifact = open_artifact(folder)
    artifact.verify_files()
    manifest = artifact.manifest
    names = (*RUNTIMES, *IN_BROWSER) if is_web_folder(artifact.folder) else RUNTIMES
    missing = {
        name: _missing_requirement(name, artifact, trust_engines=trust_engines) for name in names
    }
    usable = (name for name in RUNTIMES if missing[name] is None)
    default = next((name for name in usable if is_default_choice(manifest, name)), None)
    statuses = tuple(
        RuntimeStatus(
            name=name,
            parity=parity_status(manifest, name),
            missing_requirement=missing[name],
            default=name == default,
        )
        for name in names
    )
    calibration = calibration_of_artifact(artifact)
    return Inspection(
        folder=str(folder),
        manifest=manifest,
        runtimes=statuses,
        calibration=None if calibration is None else calibration.metadata,
        escalation=escalation_of_artifact(artifact),
    )


def _missing_requirement(name: str, artifact: Artifact, *, trust_engines: bool) -> str | None:
    try:
        if name in IN_BROWSER:
            check_browser(name, artifact)
            return None
        check_possible(name, artifact.manifest)
    except MotivNetError as error:
        return str(error)
    if not trust_engines and untrusted_engine(artifact, name):
        return f"this user did not build it on this machine; {trust_advice(f'--runtime {name}')}"
    return None
