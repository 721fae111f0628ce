"""A runtime beside PyTorch's FP32 outputs: the same figures at the build, on a device and in every report."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.artifact.manifest import Comparison, Manifest
from motivnet.parity import Outputs, compare
from motivnet.progress import progress
from motivnet.runtime import Runtime
from motivnet_engines.runtimes.inputs import input_from_pixels, profile_of
from motivnet_engines.runtimes.registry import open_backend

Forward = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""From pixels ``(B, H, W, 3)`` at the model's size to logits ``(B, classes)`` and embeddings ``(B, width)``."""


def outputs_of(forward: Forward, pixels: NDArray[np.uint8], *, what: str) -> Outputs:
    """The outputs for pixels ``(N, H, W, 3)``: the first alone, the others three at a time.

    A batch that is not free, or an image that depends on its neighbours, shows.
    """
    logits, embeddings = [], []
    start = time.perf_counter()
    with progress(what, total=len(pixels)) as advance:
        for chunk in [
            pixels[:1],
            *(pixels[first : first + 3] for first in range(1, len(pixels), 3)),
        ]:
            chunk_logits, chunk_embeddings = forward(chunk)
            logits.append(chunk_logits)
            embeddings.append(chunk_embeddings)
            advance(len(chunk))
    return Outputs(
        logits=np.concatenate(logits),
        embedding=np.concatenate(embeddings),
        seconds_per_image=(time.perf_counter() - start) / len(pixels),
    )


def comparison_of(
    name: str, artifact: Artifact, pixels: NDArray[np.uint8], reference: Outputs
) -> Comparison:
    """The runtime of this name, opened on an artifact, beside PyTorch's FP32 outputs for the same
    pixels.

    Raises:
        MotivNetError: If the runtime cannot open or run the artifact.
    """
    manifest = artifact.manifest
    with open_backend(name, artifact) as runtime:
        outputs = outputs_of(_forward(runtime, manifest), pixels, what=name)
        compute = runtime.compute
    return compare(
        name,
        outputs,
        reference,
        compute=compute,
        evidence="graph" if compute == "float32" else "runtime",
        precision="bf16"
        if compute == "bfloat16" and manifest.precision in ("fp32", "fp16")
        else manifest.precision,
    )


def _forward(runtime: Runtime, manifest: Manifest) -> Forward:
    entry, profile = manifest.input, profile_of(manifest, runtime.name)

    def forward(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        outputs = runtime.run({entry.name: input_from_pixels(entry, pixels, profile=profile)})
        return outputs["logits"], outputs["embedding"]

    return forward
