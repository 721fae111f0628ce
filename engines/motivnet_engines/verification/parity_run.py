"""Parity runs: the outputs of runtimes beside PyTorch's, at the build and later on a device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact, rewrite_manifest
from motivnet.artifact.manifest import Manifest
from motivnet.artifact.reference import read_reference
from motivnet.errors import ArtifactError, FileError, MotivNetError, RuntimeUnavailableError
from motivnet.parity import Comparison, Outputs, compare
from motivnet.terminal import progress
from motivnet_engines.browser.folder import has_webgpu
from motivnet_engines.runtimes.registry import (
    IN_BROWSER,
    check_browser,
    check_names,
    open_backend,
)
from motivnet_engines.runtimes.selection import check_engines, installed_runtimes
from motivnet_engines.runtimes.signature import input_from_pixels, profile_of

Forward = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""From pixels ``(B, H, W, 3)`` at the model's size to logits ``(B, classes)`` and embeddings."""


def collect_outputs(forward: Forward, pixels: NDArray[np.uint8], *, what: str) -> Outputs:
    """Return the outputs for pixels ``(N, H, W, 3)``: the first alone, the others three at a time.

    This finds a batch size that is not free, and an image that depends on the others in its batch.
    """
    logits, embeddings = [], []
    start = time.perf_counter()
    with progress(what, total=len(pixels)) as advance:
        chunks = [pixels[:1], *(pixels[first : first + 3] for first in range(1, len(pixels), 3))]
        for chunk in chunks:
            chunk_logits, chunk_embeddings = forward(chunk)
            logits.append(chunk_logits)
            embeddings.append(chunk_embeddings)
            advance(len(chunk))
    return Outputs(
        logits=np.concatenate(logits),
        embedding=np.concatenate(embeddings),
        seconds_per_image=(time.perf_counter() - start) / len(pixels),
    )


def compare_runtime(
    name: str, artifact: Artifact, pixels: NDArray[np.uint8], reference: Outputs
) -> Comparison:
    """Open an artifact with a runtime and compare it with PyTorch's FP32 outputs for the pixels.

    Raises:
        MotivNetError: If the runtime cannot open or run the artifact.
    """
    manifest = artifact.manifest
    entry, profile = manifest.input, profile_of(manifest, name)
    with progress(f"opening {name}"):
        opened = open_backend(name, artifact)
    with opened as runtime:

        def forward(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            outputs = runtime.run({entry.name: input_from_pixels(entry, pixels, profile=profile)})
            return outputs["logits"], outputs["embedding"]

        outputs = collect_outputs(forward, pixels, what=name)
        compute = runtime.compute
    precision = manifest.precision
    if compute == "bfloat16" and precision in ("fp32", "fp16"):
        precision = "bf16"  # the tolerances are those of what computes
    return compare(
        name,
        outputs,
        reference,
        compute=compute,
        evidence="graph" if _computes_the_graph(name, compute) else "runtime",
        precision=precision,
    )


def _computes_the_graph(name: str, compute: str) -> bool:
    """Return whether a runtime rounds nothing but what the graph itself rounds.

    INT8 products with sums in INT32 are those of the graph's Q/DQ pairs, exactly.
    """
    return compute == "float32" or (name == "openvino" and compute == "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The comparisons on this machine, why other runtimes did not run, and whether it was saved."""

    comparisons: tuple[Comparison, ...]
    refusals: tuple[str, ...]
    recorded: bool

    @property
    def passed(self) -> bool:
        """Whether at least one runtime ran, none failed to run, and all are within tolerance."""
        all_passed = all(row.passed for row in self.comparisons)
        return bool(self.comparisons) and not self.refusals and all_passed


def read_reference_outputs(artifact: Artifact) -> tuple[NDArray[np.uint8], Outputs]:
    """Return the reference's pixels ``(N, H, W, 3)`` and the outputs of PyTorch in FP32 for them.

    Raises:
        ArtifactError: If the artifact has no reference or a damaged one.
    """
    reference = read_reference(artifact)
    outputs = Outputs(logits=reference.logits, embedding=reference.embedding, seconds_per_image=0.0)
    return reference.pixels, outputs


def verify_on_device(
    artifact: Artifact, *, runtimes: Sequence[str] = (), trust_engines: bool = False
) -> Verification:
    """Compare each runtime with the artifact's reference and write the results into the manifest.

    A manifest that cannot be written, as in a read-only folder, is left unchanged. So is that of
    another model that replaced the artifact meanwhile.

    Args:
        runtimes: Their names; every runtime that can run here if none is named.
        trust_engines: As for ``open_runtime``, if no runtime is named.

    Raises:
        ArtifactError: If the artifact is damaged or has no reference.
        ConfigError: If no runtime has one of the names.
        RuntimeUnavailableError: If none of them can run here.
    """
    check_names(runtimes, in_browser=True)
    artifact.verify_files()
    pixels, reference = read_reference_outputs(artifact)
    rows: list[Comparison] = []
    refusals: list[str] = []
    for name in runtimes or _possible_runtimes(artifact, trust_engines=trust_engines):
        try:
            rows.append(compare_runtime(name, artifact, pixels, reference))
        except MotivNetError as error:
            refusals.append(f"{name}: {error}")
    if not rows:
        raise RuntimeUnavailableError(f"nothing was compared: {'; '.join(refusals)}")
    recorded = _record(artifact, rows)
    return Verification(comparisons=tuple(rows), refusals=tuple(refusals), recorded=recorded)


def runtimes_in_browser(artifact: Artifact) -> tuple[str, ...]:
    """Return the runtimes that a browser on this machine has: WebGPU only with a GPU.

    Raises:
        ArtifactError, MissingDependencyError, RuntimeUnavailableError: If there is none, with the
            reason.
    """
    check_browser("web-wasm", artifact)
    from motivnet_engines.runtimes.web_ import browser_has_gpu

    if has_webgpu(artifact.folder) and browser_has_gpu(artifact):
        return IN_BROWSER
    return ("web-wasm",)


def _possible_runtimes(artifact: Artifact, *, trust_engines: bool) -> tuple[str, ...]:
    if names := installed_runtimes(artifact, trust_engines=trust_engines):
        return names
    check_engines(artifact)
    raise RuntimeUnavailableError(
        f"no runtime can run {artifact.folder} here; 'motivnet inspect' tells what each one lacks"
    )


def add_comparisons(manifest: Manifest, rows: Sequence[Comparison]) -> Manifest:
    """Return the manifest with these comparisons instead of the same runtimes' older ones."""
    by_name = {row.backend: row for row in rows}
    engines = []
    for engine in manifest.engines:
        if engine.backend in by_name:
            engine = msgspec.structs.replace(engine, comparison=by_name.pop(engine.backend))  # noqa: PLW2901
        engines.append(engine)
    kept = [
        row
        for row in manifest.parity.comparisons
        if row.evidence == "rounding" or row.backend not in by_name
    ]
    parity = msgspec.structs.replace(manifest.parity, comparisons=(*kept, *by_name.values()))
    return msgspec.structs.replace(manifest, engines=tuple(engines), parity=parity)


def _record(artifact: Artifact, rows: Sequence[Comparison]) -> bool:
    """Write into the manifest as it is now: others may have changed it during the comparison."""

    def change(current: Manifest) -> Manifest:
        if current.model_identity() != artifact.manifest.model_identity():
            raise ArtifactError(f"{artifact.folder} holds another model by now")
        return add_comparisons(current, rows)

    try:
        rewrite_manifest(artifact.folder, change)
    except (ArtifactError, FileError):
        return False
    return True
