"""The one input that every candidate gets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact.manifest import InputEntry
from motivnet.images import read_image
from motivnet.synthetic import synthetic_faces
from motivnet_engines.runtimes.inputs import batch_from_images

SEED = 0
Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFiles:
    """Paths of the same batch as ``.npy``: through the recipe for PyTorch, and as the artifact takes it."""

    pytorch: Path
    artifact: Path


def images_for(
    entry: InputEntry, *, batch: int, labels: tuple[str, ...], image: Path | None
) -> list[Image]:
    """A batch of RGB images of one size: drawn faces, or one file as often as needed."""
    if image is not None:
        return [read_image(image)] * batch
    return list(synthetic_faces(batch, seed=SEED, size=entry.recipe.size, labels=labels))


def pytorch_entry(entry: InputEntry) -> InputEntry:
    """The input as PyTorch takes it: always through the whole recipe."""
    return dataclasses.replace(entry, dtype="float32", any_size=False)


def write_inputs(folder: Path, entry: InputEntry, images: list[Image]) -> InputFiles:
    """Both forms of the batch, in files of ``folder``."""
    return InputFiles(
        pytorch=_save(folder / "pytorch.npy", batch_from_images(pytorch_entry(entry), images)),
        artifact=_save(folder / "artifact.npy", batch_from_images(entry, images)),
    )


def _save(path: Path, array: NDArray[Any]) -> Path:
    np.save(path, array, allow_pickle=False)
    return path
