"""Drawn faces as arrays to train on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motivnet.progress import progress
from motivnet.synthetic import iterate_faces


def drawn_faces(
    count: int, *, seed: int, size: tuple[int, int], labels: tuple[str, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Faces ``(count, height, width, 3)`` that go through the labels in turn, and their label indices ``(count,)``.

    Sets of different seeds share no face.
    """
    images = np.empty((count, *size, 3), np.uint8)
    with progress("drawing faces", total=count) as advance:
        for index, face in enumerate(iterate_faces(count, seed=seed, size=size, labels=labels)):
            images[index] = face
            advance(1)
    return images, np.arange(count, dtype=np.int64) % len(labels)
