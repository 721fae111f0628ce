"""How large a batch may be without changing anybody's answer: measured, because not every runtime
keeps that promise.

Kernels are chosen by the size of a batch, and another kernel adds in another order. OpenVINO gives
each row of a batch the very bits that it gives a batch of one; ONNX Runtime on the CPU does not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.artifact.reference import reference_of_artifact
from motivnet.prediction import Prediction
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.inputs import input_from_pixels, profile_of

logger = logging.getLogger(__name__)

GPU_RUNTIMES = frozenset(("tensorrt", "tensorrt-rtx", "onnxruntime-cuda"))
"""Where a batch is worth more than the last bit of an answer."""

_SECONDS = 10.0
"""What is not proven within this time, because the model is large, is not used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """The largest batch, and whether every answer has the bits that it would have in a batch of one."""

    max_size: int = 1
    bit_exact: bool = True


def batching_for(
    classifier: EmotionClassifier, artifact: Artifact, *, max_batch: int | None = None
) -> Batching:
    """How to batch for a classifier: as large as asked for on a GPU, and elsewhere as large as is
    bit-exact.

    Runs the artifact's reference inputs, in batches of every size until one differs from batches of
    one. Warns where batches are smaller than asked for, or than the artifact could.

    Raises:
        ArtifactError: If the reference cannot be trusted, or the model's logits are not finite.
    """
    asked = max_batch or classifier.batch_size
    wanted = min(asked, classifier.batch_size)
    if wanted < asked:
        logger.warning(
            "batches of %d are asked for, but the artifact takes at most %d", asked, wanted
        )
    exact = _exact_size(classifier, artifact, wanted)
    if exact < wanted and classifier.runtime.name in GPU_RUNTIMES:
        return Batching(max_size=wanted, bit_exact=False)
    if exact < wanted:
        logger.warning(
            "%s is bit-equal to single images up to a batch of %d here, so larger ones are not used",
            classifier.runtime.name,
            exact,
        )
    return Batching(max_size=exact)


def exact_size(
    classifier: EmotionClassifier,
    inputs: Sequence[NDArray[Any]],
    *,
    largest: int,
    seconds: float = _SECONDS,
) -> int:
    """The largest size at which, as at every smaller one, a batch gives each input the bits of a
    batch of one.

    Args:
        inputs: As ``prepare`` makes them; repeated where a batch is larger.
        seconds: Sizes that are not reached within this time do not count.
    """
    end = time.monotonic() + seconds
    alone = [classifier.classify([array])[0] for array in inputs]
    for size in range(2, largest + 1):
        # Each size starts at another input, so that inputs change their places and neighbours.
        chosen = [(size + place) % len(inputs) for place in range(size)]
        batch = classifier.classify([inputs[index] for index in chosen])
        if not all(_same(alone[index], found) for index, found in zip(chosen, batch, strict=True)):
            return size - 1
        if time.monotonic() > end:
            return size
    return largest


def _exact_size(classifier: EmotionClassifier, artifact: Artifact, largest: int) -> int:
    manifest = classifier.manifest
    if manifest.reference is None:
        logger.warning(
            "the artifact has no reference inputs to prove batches with; images are run one by one"
        )
        return 1
    pixels = reference_of_artifact(artifact).pixels
    inputs = input_from_pixels(
        manifest.input, pixels, profile=profile_of(manifest, classifier.runtime.name)
    )
    return exact_size(classifier, list(inputs), largest=largest)


def _same(one: Prediction, other: Prediction) -> bool:
    """Equal in every field, to the last bit; the embedding is not part of ``==``."""
    return one == other and np.array_equal(_embedding(one), _embedding(other))


def _embedding(prediction: Prediction) -> NDArray[np.float32]:
    return np.empty(0, np.float32) if prediction.embedding is None else prediction.embedding
