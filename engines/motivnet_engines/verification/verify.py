"""The verdict on the device: every runtime that can run here beside the reference that the export left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact, rewrite_manifest
from motivnet.artifact.manifest import Comparison, Manifest
from motivnet.artifact.model_identity import identity_of_model
from motivnet.artifact.reference import reference_of_artifact
from motivnet.errors import ArtifactError, FileError, MotivNetError, RuntimeUnavailableError
from motivnet.parity import Outputs
from motivnet_engines.runtimes.registry import check_engines, check_names, installed_runtimes
from motivnet_engines.verification.parity_run import comparison_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What ran here and how far it is from PyTorch, a sentence for each that did not run, and if it was recorded."""

    comparisons: tuple[Comparison, ...]
    refusals: tuple[str, ...]
    recorded: bool

    @property
    def passed(self) -> bool:
        """Whether all that ran is within its tolerances, and something did."""
        return (
            bool(self.comparisons)
            and not self.refusals
            and all(row.passed for row in self.comparisons)
        )


def reference_outputs(artifact: Artifact) -> tuple[NDArray[np.uint8], Outputs]:
    """The reference's pixels ``(N, H, W, 3)`` and what PyTorch in FP32 says of them.

    Raises:
        ArtifactError: If the artifact holds none, or a damaged one.
    """
    reference = reference_of_artifact(artifact)
    outputs = Outputs(logits=reference.logits, embedding=reference.embedding, seconds_per_image=0.0)
    return reference.pixels, outputs


def verify_on_device(
    artifact: Artifact, *, runtimes: Sequence[str] = (), trust_engines: bool = False
) -> Verification:
    """Runs the artifact's reference through each runtime and writes the verdicts into the manifest.

    A manifest that cannot be written, such as one in a read-only folder, is left as it is, and so
    is that of another model which took the artifact's place meanwhile.

    Args:
        runtimes: Their names; every one that can run here if none is named.
        trust_engines: As ``open_runtime``, where none is named.

    Raises:
        ArtifactError: If the artifact is damaged or holds no reference.
        ConfigError: If no runtime has one of the names.
        RuntimeUnavailableError: If none of them can run here.
    """
    check_names(runtimes)
    artifact.verify_files()
    pixels, reference = reference_outputs(artifact)
    rows: list[Comparison] = []
    refusals: list[str] = []
    for name in runtimes or _possible(artifact, trust_engines=trust_engines):
        try:
            rows.append(comparison_of(name, artifact, pixels, reference))
        except MotivNetError as error:
            refusals.append(f"{name}: {error}")
    if not rows:
        raise RuntimeUnavailableError(f"nothing was compared: {'; '.join(refusals)}")
    recorded = _record(artifact, rows)
    return Verification(comparisons=tuple(rows), refusals=tuple(refusals), recorded=recorded)


def with_verdicts(manifest: Manifest, rows: Sequence[Comparison]) -> Manifest:
    """The manifest with these comparisons in the place of the same runtimes' older ones."""
    by_name = {row.backend: row for row in rows}
    engines = tuple(
        replace(engine, comparison=by_name.pop(engine.backend))
        if engine.backend in by_name
        else engine
        for engine in manifest.engines
    )
    kept = (
        row
        for row in manifest.parity.comparisons
        if row.evidence == "rounding" or row.backend not in by_name
    )
    parity = replace(manifest.parity, comparisons=(*kept, *by_name.values()))
    return replace(manifest, engines=engines, parity=parity)


def _possible(artifact: Artifact, *, trust_engines: bool) -> tuple[str, ...]:
    if names := installed_runtimes(artifact, trust_engines=trust_engines):
        return names
    check_engines(artifact)
    raise RuntimeUnavailableError(
        f"no runtime can run {artifact.folder} here; 'motivnet info' says what each one lacks"
    )


def _record(artifact: Artifact, rows: Sequence[Comparison]) -> bool:
    """Into the manifest as it is by now: the comparison takes long, and others may have written theirs meanwhile."""

    def change(current: Manifest) -> Manifest:
        if identity_of_model(current) != identity_of_model(artifact.manifest):
            raise ArtifactError(f"{artifact.folder} holds another model by now")
        return with_verdicts(current, rows)

    try:
        rewrite_manifest(artifact.folder, change)
    except (ArtifactError, FileError):
        return False
    return True
