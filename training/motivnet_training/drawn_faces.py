"""Drawn faces to train on, which need no file."""

from __future__ import annotations

from motivnet.datasets.sample import RGBPixels, Sample
from motivnet.progress import progress
from motivnet.synthetic import iterate_faces


def drawn_samples(
    count: int, *, seed: int, size: tuple[int, int], labels: tuple[str, ...]
) -> tuple[Sample, ...]:
    """Faces of ``size`` (height, width) that go through the labels in turn.

    Sets of different seeds share no face.
    """
    samples: list[Sample] = []
    with progress("drawing faces", total=count) as advance:
        for index, face in enumerate(iterate_faces(count, seed=seed, size=size, labels=labels)):
            image = RGBPixels(data=face.tobytes(), size=size)
            samples.append(Sample(name=f"face {index}", image=image, label=index % len(labels)))
            advance(1)
    return tuple(samples)
