"""Which runtime opens an artifact, by its parity check, its precision and who built an engine."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Literal

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.manifest import Manifest
from motivnet.errors import BrokenDependencyError, MotivNetError, RuntimeUnavailableError
from motivnet.parity import Comparison
from motivnet.runtime import Runtime
from motivnet_engines.runtimes.own_engines import trust_advice, untrusted_engine
from motivnet_engines.runtimes.registry import (
    RUNTIMES,
    check_names,
    check_possible,
    open_backend,
    rounds_fp32,
)

logger = logging.getLogger(__name__)

ParityStatus = Literal["verified", "failed", "unverified"]


def open_runtime(
    folder: Path | str | Artifact,
    *,
    runtime: str | None = None,
    threads: int | None = None,
    trust_engines: bool = False,
) -> Runtime:
    """Open an artifact with the runtime named, else with ``default_runtime``.

    A runtime named here is opened even if it failed the parity check or was never compared with
    PyTorch; then a warning is logged.

    Args:
        folder: The artifact's folder, or the artifact already read.
        threads: Threads per call on the CPU; the runtime's own choice if None.
        trust_engines: As for ``default_runtime``.

    Raises:
        ArtifactError: If the artifact is not valid or its files are not those of its manifest.
        ConfigError: If no runtime has that name.
        MissingDependencyError: If the runtime's package is not installed.
        RuntimeUnavailableError: If the runtime cannot run here, or none was verified.
    """
    artifact = folder if isinstance(folder, Artifact) else open_artifact(folder)
    if runtime is None:
        runtime = default_runtime(artifact, trust_engines=trust_engines)
    else:
        check_names([runtime])
        _warn_unless_verified(artifact.manifest, runtime)
    return open_backend(runtime, artifact, threads=threads)


def default_runtime(artifact: Artifact, *, trust_engines: bool = False) -> str:
    """Return the first runtime that can run here and passes ``is_default_choice``.

    Args:
        trust_engines: As for ``installed_runtimes``.

    Raises:
        RuntimeUnavailableError: If there is none.
    """
    installed = installed_runtimes(artifact, trust_engines=trust_engines)
    for name in installed:
        if is_default_choice(artifact.manifest, name):
            return name
    if not installed:
        check_engines(artifact)
        raise RuntimeUnavailableError(
            "no runtime is installed; install some with: pip install 'motivnet[cpu]'"
        )
    raise RuntimeUnavailableError(
        "no runtime that runs here passed the parity check when "
        f"{artifact.folder} was built (running here: {', '.join(installed)}); "
        "choose one with --runtime NAME, or build the artifact again here"
    )


def installed_runtimes(artifact: Artifact, *, trust_engines: bool = False) -> tuple[str, ...]:
    """Return the runtimes that may open the artifact here unasked, in order of preference.

    An engine that this user did not build here is left out with a warning.

    Args:
        trust_engines: Whether such engines may be run too. They are native code.
    """
    possible = [name for name in RUNTIMES if _is_possible(name, artifact.manifest)]
    installed = tuple(
        name for name in possible if trust_engines or not untrusted_engine(artifact, name)
    )
    if installed:
        for name in sorted({*possible} - {*installed}):
            _warn_of_untrusted_engine(artifact.folder, name)
    return installed


def is_default_choice(manifest: Manifest, name: str) -> bool:
    """Return whether a runtime may be chosen unasked, by the parity check and the precision.

    It must be verified, and must not round an FP32 artifact. An engine that was compiled ahead of
    time may be chosen before its first comparison: it runs the artifact's reference inputs each
    time that it is opened, and does not open if its outputs differ too much.
    """
    if rounds_fp32(name) and manifest.precision == "fp32":
        return False
    status = parity_status(manifest, name)
    checks_itself = manifest.engine(name) is not None and manifest.reference is not None
    return status == "verified" or (status == "unverified" and checks_itself)


def warn_of_untrained(artifact: Artifact) -> None:
    """Warn once per process, where results are read, that an artifact never learnt anything."""
    source = artifact.manifest.source
    if source.random_weights or source.fresh_head:
        untrained = "random weights" if source.random_weights else "an untrained head"
        _warn_once(f"{artifact.folder} has {untrained}: its results mean nothing")


def parity_status(manifest: Manifest, name: str) -> ParityStatus:
    """Return whether this runtime passed the parity check of the build."""
    comparisons = _comparisons(manifest, name)
    if not comparisons:
        return "unverified"
    return "verified" if all(comparison.passed for comparison in comparisons) else "failed"


def check_engines(artifact: Artifact) -> None:
    """Check that no engine explains why an artifact has no runtime.

    Raises:
        MissingDependencyError, RuntimeUnavailableError: Naming the engine that lacks something
            here, or that would run but is not trusted.
    """
    manifest = artifact.manifest
    for engine in manifest.engines:
        if manifest.kind == "engine":
            check_possible(engine.backend, manifest)
        if _is_possible(engine.backend, manifest):
            raise RuntimeUnavailableError(
                f"{artifact.folder} has only a {engine.backend} engine that runs here, and this "
                "user did not build it on this machine; "
                f"{trust_advice(f'--runtime {engine.backend}')}"
            )


def _comparisons(manifest: Manifest, name: str) -> list[Comparison]:
    """Return the comparisons in which this runtime computed, not PyTorch with rounded weights."""
    engine = manifest.engine(name)
    if engine is not None:
        return [] if engine.comparison is None else [engine.comparison]
    rows = manifest.parity.comparisons
    return [row for row in rows if row.backend == name and row.evidence != "rounding"]


def _warn_unless_verified(manifest: Manifest, name: str) -> None:
    status = parity_status(manifest, name)
    if status == "unverified":
        logger.warning("%s was not compared with PyTorch when this artifact was built", name)
    elif status == "failed":
        rows = _comparisons(manifest, name)
        failures = "; ".join(failure for row in rows for failure in row.failures)
        logger.warning(
            "%s failed the parity check when this artifact was built: %s", name, failures
        )


def _warn_of_untrusted_engine(folder: Path, backend: str) -> None:
    _warn_once(
        f"the {backend} engine of {folder} is not used, as this user did not build it on this "
        f"machine; {trust_advice(f'--runtime {backend}')}"
    )


def _is_possible(name: str, manifest: Manifest) -> bool:
    try:
        check_possible(name, manifest)
    except BrokenDependencyError as error:
        _warn_once(f"a runtime is not used: {error}")  # what is installed is expected to run
        return False
    except MotivNetError:
        return False
    return True


@functools.cache
def _warn_once(text: str) -> None:
    """Warn once per process: a command may ask for the same several times."""
    logger.warning("%s", text)
