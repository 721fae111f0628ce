"""Images of any folder, and what an encoder makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import DatasetError, FileError, ImageError
from motivnet.images import IMAGE_SUFFIXES, read_image
from motivnet.preprocess import InputRecipe
from motivnet.progress import progress
from motivnet.runtime import Runtime

MIN_IMAGES = 2

Images = Iterable[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FedModel:
    """A model that is open, the recipe of its images, and how many it gets in a call."""

    runtime: Runtime
    recipe: InputRecipe
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """The mean of the encoder's final tokens for each image ``(N, D)``, and why which files were not read."""

    values: NDArray[np.float64]
    unreadable: dict[str, str]


def image_files(folder: Path, *, limit: int | None = None) -> tuple[Path, ...]:
    """The image files in a folder and below it in order of path, hidden ones left out.

    Args:
        limit: How many at most, evenly spread over all.

    Raises:
        DatasetError: If the folder is missing or holds fewer than two.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; give a folder of images")
    files = sorted(
        path for path in folder.rglob("*") if _is_image(path.relative_to(folder)) and path.is_file()
    )
    if len(files) < MIN_IMAGES:
        raise DatasetError(
            f"{folder} holds {len(files)} images; a comparison of two folders takes two of each at least"
        )
    if limit is None or limit >= len(files):
        return tuple(files)
    return tuple(files[int(place)] for place in np.linspace(0, len(files) - 1, num=limit))


def embeddings_of(model: FedModel, folder: Path, files: Sequence[Path]) -> Embeddings:
    """The embeddings of the files that can be read.

    Raises:
        DatasetError: If fewer than two can.
    """
    unreadable: dict[str, str] = {}
    values = outputs_of(model, _readable(folder, files, unreadable), "embedding", total=len(files))
    if len(values) < MIN_IMAGES:
        raise DatasetError(
            f"{folder} holds {len(values)} images that can be read; a comparison takes two at least"
        )
    return Embeddings(values=values.astype(np.float64), unreadable=unreadable)


def outputs_of(
    model: FedModel, images: Images, output: Literal["logits", "embedding"], *, total: int
) -> NDArray[np.float32]:
    """One output of the model for every image ``(N, …)``, in their order."""
    outputs = [np.empty((0, 0), np.float32)]
    with progress(f"running {model.runtime.name}", total=total) as advance:
        for batch in _batches(images, model):
            outputs.append(model.runtime.run({model.runtime.inputs[0].name: batch})[output])
            advance(len(batch))
    return np.concatenate(outputs[1:] or outputs)


def _batches(images: Images, model: FedModel) -> Iterator[NDArray[np.float32]]:
    inputs: list[NDArray[np.float32]] = []
    for image in images:
        inputs.append(model.recipe(image))
        if len(inputs) == model.batch:
            yield np.stack(inputs)
            inputs = []
    if inputs:
        yield np.stack(inputs)


def _readable(
    folder: Path, files: Sequence[Path], unreadable: dict[str, str]
) -> Iterator[NDArray[np.uint8]]:
    for file in files:
        try:
            yield read_image(file)
        except (ImageError, FileError) as error:
            unreadable[file.relative_to(folder).as_posix()] = str(error)


def _is_image(path: Path) -> bool:
    return path.suffix.casefold() in IMAGE_SUFFIXES and not any(
        part.startswith(".") for part in path.parts
    )
