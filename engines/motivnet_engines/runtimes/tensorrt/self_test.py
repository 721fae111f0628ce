"""The test that an engine must pass before its runtime is ready."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.artifact.engine_entry import EngineEntry
from motivnet.artifact.manifest import InputEntry
from motivnet.artifact.reference import read_reference
from motivnet.errors import EngineError
from motivnet.parity import Outputs, compare
from motivnet.runtime import Arrays
from motivnet_engines.runtimes.signature import input_from_pixels
from motivnet_engines.runtimes.tensorrt.tensors import input_shape

Run = Callable[[Arrays], dict[str, NDArray[np.float32]]]

_REMEDY = "build it again with another precision or --attention decomposed"


def self_test(run: Run, artifact: Artifact, entry: EngineEntry, *, compute: str) -> None:
    """Check that an engine reproduces the reference, or without one gives finite outputs.

    Args:
        run: The runtime's ``run``.
        artifact: Whose engine.
        entry: Which engine; its precision selects the tolerances.
        compute: The dtype of its matrix products.

    Raises:
        EngineError: Naming the metrics that are outside the tolerances.
        ArtifactError: If the reference is damaged.
    """
    if artifact.manifest.reference is None:
        _check_finite(run, artifact.manifest.input, entry)
    else:
        _check_reference(run, artifact, entry, compute)


def _check_reference(run: Run, artifact: Artifact, entry: EngineEntry, compute: str) -> None:
    reference = read_reference(artifact)
    image = artifact.manifest.input
    inputs = {image.name: input_from_pixels(image, reference.pixels, profile=entry.profile)}
    started = time.perf_counter()
    outputs = run(inputs)
    seconds = (time.perf_counter() - started) / len(reference.pixels)
    found = Outputs(
        logits=outputs["logits"],
        # An artifact without an embedding is compared by its logits alone.
        embedding=outputs.get("embedding", reference.embedding),
        seconds_per_image=seconds,
    )
    comparison = compare(
        entry.backend,
        found,
        Outputs(logits=reference.logits, embedding=reference.embedding, seconds_per_image=0),
        compute=compute,
        evidence="runtime",
        precision=entry.precision,
    )
    if not comparison.passed:
        raise EngineError(
            f"the {entry.backend} engine is too far from PyTorch on the artifact's reference "
            f"images: {'; '.join(comparison.failures)}; {_REMEDY}",
            problems=comparison.failures,
        )


def _check_finite(run: Run, entry: InputEntry, engine: EngineEntry) -> None:
    black = np.zeros(input_shape(entry, 1, entry.preprocessing.size), entry.dtype)
    for name, output in run({entry.name: black}).items():
        if not np.isfinite(output).all():
            raise EngineError(
                f"the {engine.backend} engine gives {name} that are not finite numbers, "
                f"for an image of zeros; {_REMEDY}"
            )
