"""How alike an encoder sees the images of two folders."""

from __future__ import annotations

import numpy as np

from motivnet_bench.viability.bootstrap import Estimate, estimates
from motivnet_bench.viability.images import Embeddings
from motivnet_bench.viability.result import DataSimilarity, ImageSet, Point
from motivnet_bench.viability.similarity import (
    Floats,
    covariance_alignment,
    frechet_distance,
    mean_distance,
    moments,
)

MAX_POINTS = 500
_DIGITS = 6


def data_similarity(
    data: tuple[str, Embeddings], reference: tuple[str, Embeddings], *, resamples: int, seed: int
) -> DataSimilarity:
    """The similarity of two named folders' embeddings, with bootstrap intervals."""
    first, second = data[1].values, reference[1].values
    found = estimates(
        first,
        second,
        {"frechet": frechet_distance, "alignment": covariance_alignment},
        resamples=resamples,
        seed=seed,
    )
    ours, theirs = _points(first, second)
    return DataSimilarity(
        data=_image_set(*data, ours),
        reference=_image_set(*reference, theirs),
        dimensions=first.shape[1],
        frechet=found["frechet"],
        mean_distance=mean_distance(moments(first), moments(second)),
        alignment=found["alignment"],
        resamples=resamples,
        seed=seed,
        warnings=(*_few(*data), *_few(*reference), *_outside(found)),
    )


def _image_set(folder: str, embeddings: Embeddings, points: tuple[Point, ...]) -> ImageSet:
    return ImageSet(
        folder=folder,
        images=len(embeddings.values),
        variance=float(np.square(moments(embeddings.values).factor).sum()),
        points=points,
        unreadable=embeddings.unreadable,
    )


def _few(folder: str, embeddings: Embeddings) -> tuple[str, ...]:
    images, dimensions = embeddings.values.shape
    if images > dimensions:
        return ()
    return (
        f"{folder}: {images} images are not more than the {dimensions} dimensions of the embedding: its covariance is "
        "singular, and the Frechet distance is biased upwards; compare it only with distances over as many images",
    )


def _outside(found: dict[str, Estimate]) -> tuple[str, ...]:
    names = {"frechet": "Frechet distance", "alignment": "alignment"}
    return tuple(
        f"the {names[name]} lies outside its own interval: there are too few images for either"
        for name, estimate in found.items()
        if not estimate.inside
    )


def _points(first: Floats, second: Floats) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    """Both sets in the plane of the two largest principal components of their union, evenly thinned."""
    pooled = np.concatenate([first, second])
    centre = pooled.mean(axis=0)
    axes = np.linalg.svd(moments(pooled).factor, full_matrices=False)[2][:2]
    return _plane(first - centre, axes), _plane(second - centre, axes)


def _plane(centred: Floats, axes: Floats) -> tuple[Point, ...]:
    places = np.linspace(0, len(centred) - 1, num=min(MAX_POINTS, len(centred))).astype(int)
    plane = np.zeros((len(places), 2))
    plane[:, : len(axes)] = centred[places] @ axes.T
    return tuple((round(x, _DIGITS), round(y, _DIGITS)) for x, y in plane.tolist())
