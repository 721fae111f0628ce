"""The input that an engine must get right before its runtime calls itself ready."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.artifact.manifest import EngineEntry, InputEntry
from motivnet.artifact.reference import ReferenceSet, reference_of_artifact
from motivnet.errors import EngineError
from motivnet.parity import Outputs, compare
from motivnet.runtime import Arrays
from motivnet_engines.runtimes.inputs import input_from_pixels
from motivnet_engines.runtimes.tensorrt.tensors import input_shape

Run = Callable[[Arrays], dict[str, NDArray[np.float32]]]


def self_test(run: Run, artifact: Artifact, entry: EngineEntry, *, compute: str) -> None:
    """Returns when the engine gives the artifact's reference outputs, or finite ones where there is
    no reference.

    Args:
        run: The runtime's ``run``.
        artifact: Whose engine.
        entry: Which engine; its precision says how near is near enough.
        compute: The dtype in which it multiplies matrices.

    Raises:
        EngineError: Naming the figures that are too far from PyTorch's.
        ArtifactError: If the reference is damaged.
    """
    if artifact.manifest.reference is None:
        _check_finite(run, artifact.manifest.input, entry)
    else:
        _check_reference(run, artifact, entry, compute)


def _check_reference(run: Run, artifact: Artifact, entry: EngineEntry, compute: str) -> None:
    reference = reference_of_artifact(artifact)
    image = artifact.manifest.input
    inputs = {image.name: input_from_pixels(image, reference.pixels, profile=entry.profile)}
    started = time.perf_counter()
    outputs = run(inputs)
    seconds = (time.perf_counter() - started) / len(reference.pixels)
    comparison = compare(
        entry.backend,
        _outputs(outputs, reference, seconds),
        Outputs(logits=reference.logits, embedding=reference.embedding, seconds_per_image=0),
        compute=compute,
        evidence="runtime",
        precision=entry.precision,
    )
    if not comparison.passed:
        raise EngineError(
            f"the {entry.backend} engine is too far from PyTorch on the artifact's reference images: "
            f"{'; '.join(comparison.failures)}; build it again with another precision or --attention decomposed",
            problems=comparison.failures,
        )


def _outputs(
    outputs: dict[str, NDArray[np.float32]], reference: ReferenceSet, seconds: float
) -> Outputs:
    """An artifact may have no embedding; the reference's own stands for it then, and only the logits are judged."""
    return Outputs(
        logits=outputs["logits"],
        embedding=outputs.get("embedding", reference.embedding),
        seconds_per_image=seconds,
    )


def _check_finite(run: Run, entry: InputEntry, engine: EngineEntry) -> None:
    black = np.zeros(input_shape(entry, 1, entry.recipe.size), entry.dtype)
    for name, output in run({entry.name: black}).items():
        if not np.isfinite(output).all():
            raise EngineError(
                f"the {engine.backend} engine gives {name} that are no finite numbers, for an image of zeros; "
                "build it again with another precision or --attention decomposed"
            )
