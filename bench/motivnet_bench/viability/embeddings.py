"""Data similarity: how similar the embeddings of the images of two folders are."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motivnet.datasets.check import Checked
from motivnet.datasets.image_folders import pick_evenly, walk_images
from motivnet.datasets.sample import Sample
from motivnet.errors import DatasetError, FileError, ImageError
from motivnet.path_kind import is_folder
from motivnet.printable import counted
from motivnet_bench.viability.performance import BatchedModel
from motivnet_bench.viability.result import DataSimilarity, Estimate, ImageSet
from motivnet_bench.viability.similarity import (
    Floats,
    bootstrap,
    compute_moments,
    covariance_alignment,
    frechet_distance,
    mean_distance,
)

logger = logging.getLogger(__name__)

MIN_IMAGES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """The embeddings ``(N, D)`` of a folder, its name, and the reason per file that was not read.

    ``left_out`` has them in one line. An embedding is the mean of the encoder's final tokens.
    """

    folder: str
    values: Floats
    unreadable: dict[str, str]
    left_out: str = ""


def find_images(folder: Path, *, limit: int | None = None) -> list[Path]:
    """Return the image files in a folder and below it in order of path, without hidden ones.

    Args:
        limit: How many at most, evenly spread over all.

    Raises:
        DatasetError: If the folder is missing or has fewer than two.
        FileError: If a folder in it cannot be read.
    """
    if not is_folder(folder):
        raise DatasetError(f"{folder} is not a folder; give a folder of images")
    found = walk_images(folder)
    found.refuse_unreadable()
    found.warn()
    files = list(found.files)
    if len(files) < MIN_IMAGES:
        raise DatasetError(
            f"{folder} holds {counted(len(files), 'image')}; a comparison needs at least two in "
            "each folder"
        )
    return files if limit is None else pick_evenly(files, limit)


def embed_images(
    model: BatchedModel, folder: Path, files: Sequence[Path], *, name: str
) -> Embeddings:
    """Return the embeddings of the files that can be read.

    Args:
        name: What the folder is called in the report.

    Raises:
        DatasetError: If fewer than two can.
    """
    unreadable: dict[str, str] = {}

    def images() -> Iterator[NDArray[np.uint8]]:
        for file in files:
            try:
                yield Sample(name="", image=file, label=0).pixels()
            except (ImageError, FileError) as error:
                unreadable[file.relative_to(folder).as_posix()] = str(error)

    values = model.run(images(), "embedding", total=len(files))
    left_out = Checked(digests={}, unreadable=unreadable).left_out()
    if left_out.counts:
        logger.warning("%s: left out %s", folder, left_out)
    if len(values) < MIN_IMAGES:
        raise DatasetError(
            f"{folder} holds {counted(len(values), 'image')} that can be read; a comparison needs "
            "at least two"
        )
    return Embeddings(
        folder=name,
        values=values.astype(np.float64),
        unreadable=unreadable,
        left_out=str(left_out),
    )


def compare_data(
    data: Embeddings, reference: Embeddings, *, resamples: int, seed: int
) -> DataSimilarity:
    """Return how similar two folders are, with bootstrap intervals."""
    estimates = bootstrap(
        data.values,
        reference.values,
        {"Frechet distance": frechet_distance, "alignment": covariance_alignment},
        resamples=resamples,
        seed=seed,
    )
    # Both sets in the plane of the two largest principal components of their union.
    pooled = np.concatenate([data.values, reference.values])
    centre = pooled.mean(axis=0)
    axes = np.linalg.svd(compute_moments(pooled).factor, full_matrices=False)[2][:2]
    return DataSimilarity(
        data=_image_set(data, centre, axes),
        reference=_image_set(reference, centre, axes),
        dimensions=data.values.shape[1],
        frechet=estimates["Frechet distance"],
        mean_distance=mean_distance(
            compute_moments(data.values), compute_moments(reference.values)
        ),
        alignment=estimates["alignment"],
        resamples=resamples,
        seed=seed,
        warnings=tuple(_warnings(data, reference, estimates)),
    )


def _image_set(embeddings: Embeddings, centre: Floats, axes: Floats) -> ImageSet:
    values = embeddings.values
    places = np.linspace(0, len(values) - 1, num=min(500, len(values))).astype(int)
    plane = np.zeros((len(places), 2))
    plane[:, : len(axes)] = (values[places] - centre) @ axes.T  # two images span one axis only
    return ImageSet(
        folder=embeddings.folder,
        images=len(values),
        variance=float(np.square(compute_moments(values).factor).sum()),
        points=tuple((x, y) for x, y in plane.round(6).tolist()),
        unreadable=embeddings.unreadable,
        left_out=embeddings.left_out,
    )


def _warnings(
    data: Embeddings, reference: Embeddings, estimates: dict[str, Estimate]
) -> Iterator[str]:
    for each in (data, reference):
        images, dimensions = each.values.shape
        if images <= dimensions:
            yield (
                f"{each.folder}: {images} images are not more than the {dimensions} dimensions of "
                "the embedding: its covariance is singular, and the Frechet distance is biased "
                "upwards; compare it only with distances over as many images"
            )
    for name, estimate in estimates.items():
        if not estimate.inside:
            yield (f"the {name} is outside its own interval: there are too few images for either")
