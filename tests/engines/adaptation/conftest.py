"""Outputs of a model that does not exist, of classes that lie apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from motivnet_engines.calibration.labelled_outputs import LabelledOutputs

NAMES = ("calm", "cheer", "doubt", "grief", "shock", "scorn", "pride", "shame")


@pytest.fixture
def outputs_of() -> Callable[..., LabelledOutputs]:
    """A function that gives outputs of ``count`` images of each of the named classes.

    Embeddings and logits of a class lie around its own centre.
    """
    embeddings = np.random.default_rng(1).normal(size=(len(NAMES), 24))
    logits = np.random.default_rng(2).normal(size=(len(NAMES), 5))

    def outputs(
        names: Sequence[str], count: int, *, seed: int = 0, spread: float = 0.35
    ) -> LabelledOutputs:
        generator = np.random.default_rng(seed)
        places = np.repeat(np.arange(len(names)), count)
        own = np.array([NAMES.index(name) for name in names])[places]
        embedding = embeddings[own] + generator.normal(size=(len(own), 24)) * spread
        return LabelledOutputs(
            labels=tuple(names),
            classes=places,
            logits=logits[own] + generator.normal(size=(len(own), 5)) * spread,
            embedding=embedding.astype(np.float32),
        )

    return outputs
