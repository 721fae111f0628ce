"""Pictures without a face, and made-up outputs of a model."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from motivnet.labels import EMOTIONS
from motivnet_engines.calibration.labelled_outputs import LabelledOutputs

SIZE = (128, 96)


def noise(generator: np.random.Generator) -> NDArray[np.uint8]:
    """Independent pixels in colour or grey, around a mean, or so coarse that they are clouds."""
    height, width = SIZE
    kind = generator.integers(4)
    if kind == 0:
        return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == 1:
        return np.repeat(generator.integers(0, 256, (height, width, 1), dtype=np.uint8), 3, axis=2)
    if kind == 2:
        spread = generator.uniform(5, 60)
        return np.clip(generator.normal(128, spread, (height, width, 3)), 0, 255).astype(np.uint8)
    cells = int(generator.integers(2, 16))
    coarse = generator.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def texture(generator: np.random.Generator) -> NDArray[np.uint8]:
    """Stripes, a chessboard, dots, a gradient or a heap of triangles, in two colours."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    angle, period = generator.uniform(0, np.pi), generator.uniform(3, 40)
    along = x * np.cos(angle) + y * np.sin(angle)
    kind = generator.integers(5)
    if kind == 0:
        shade = (np.sin(2 * np.pi * along / period) + 1) / 2
    elif kind == 1:
        shade = (x // period + y // period) % 2
    elif kind == 2:
        shade = np.hypot(
            x % period - period / 2, y % period - period / 2
        ) < period * generator.uniform(0.2, 0.45)
    elif kind == 3:
        shade = (along - along.min()) / np.ptp(along)
    else:
        shade = np.zeros(SIZE)
        for _ in range(generator.integers(5, 40)):
            corners = generator.integers(0, SIZE[::-1], (3, 2)).astype(np.int32)
            cv2.fillPoly(shade, [corners], float(generator.uniform()))
    first, second = generator.integers(0, 256, (2, 3))
    mixed = np.asarray(shade, float)[..., None]
    return np.asarray(first * (1 - mixed) + second * mixed, np.uint8)


@pytest.fixture(scope="session")
def noise_and_textures() -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Two hundred pictures of each."""
    generator = np.random.default_rng(0)
    return [noise(generator) for _ in range(200)], [texture(generator) for _ in range(200)]


@pytest.fixture
def made_outputs() -> Callable[..., LabelledOutputs]:
    """A function: the outputs of ``count`` images of each of ``classes`` well separated classes."""

    def outputs(
        count: int, *, classes: int = 4, width: int = 16, seed: int = 0, sure: float = 3.0
    ) -> LabelledOutputs:
        generator, centres = (
            np.random.default_rng(seed),
            np.random.default_rng(99).normal(size=(classes, width)),
        )
        places = np.repeat(np.arange(classes), count)
        embedding = 3 * centres[places] + generator.normal(size=(len(places), width)) * 0.3
        right = np.where(generator.uniform(size=len(places)) < 0.8, places, (places + 1) % classes)
        logits = generator.normal(size=(len(places), classes))
        logits[np.arange(len(places)), right] += sure
        return LabelledOutputs(
            labels=EMOTIONS[:classes],
            classes=places,
            logits=logits,
            embedding=embedding.astype(np.float32),
        )

    return outputs
