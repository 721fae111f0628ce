"""Images and labels as batches: drawn faces or files, in an order that depends on seed and epoch alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motivnet.errors import DatasetError
from motivnet.images import read_image
from motivnet.preprocess import InputRecipe
from motivnet.progress import progress

MEMORY_LIMIT = 1 << 30
"""Bytes of pixels that are kept in memory; a larger folder is decoded anew in each epoch."""

Batch = tuple[Tensor, Tensor]
"""Normalised images ``(B, 3, H, W)`` and label indices ``(B,)``."""


class Samples(Protocol):
    """Labelled images at the model's size."""

    @property
    def targets(self) -> NDArray[np.int64]:
        """Label indices ``(N,)``."""

    def pixels(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """RGB images ``(B, H, W, 3)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySamples:
    """Images that lie in memory, ``(N, H, W, 3)``."""

    images: NDArray[np.uint8]
    targets: NDArray[np.int64]

    def pixels(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """RGB images ``(B, H, W, 3)``."""
        return self.images[indices]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSamples:
    """Images that are decoded whenever they are asked for."""

    paths: tuple[Path, ...]
    targets: NDArray[np.int64]
    recipe: InputRecipe

    def pixels(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """RGB images ``(B, H, W, 3)``."""
        return np.stack([self.recipe.pixels(read_image(self.paths[index])) for index in indices])


def samples_from_files(files: Sequence[tuple[Path, int]], *, recipe: InputRecipe) -> Samples:
    """The files' images at the recipe's size, decoded once where all of them fit into ``MEMORY_LIMIT`` bytes."""
    targets = np.array([target for _, target in files], np.int64)
    on_demand = FileSamples(paths=tuple(path for path, _ in files), targets=targets, recipe=recipe)
    if len(files) * recipe.size[0] * recipe.size[1] * 3 > MEMORY_LIMIT:
        return on_demand
    images = np.empty((len(files), *recipe.size, 3), np.uint8)
    with progress("decoding", total=len(files)) as advance:
        for index in range(len(files)):
            images[index] = on_demand.pixels(np.array([index]))[0]
            advance(1)
    return MemorySamples(images=images, targets=targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """One pass over samples. An iterable of its own, because batches are cut from arrays and need no workers.

    The order and the mirrored images are a function of (seed, epoch), so that neither an interruption nor another
    use of random numbers changes them. ``shuffle`` off gives every sample once, in order and unmirrored.
    """

    samples: Samples
    recipe: InputRecipe
    batch_size: int
    shuffle: bool
    seed: int = 0
    epoch: int = 0

    def __len__(self) -> int:
        return math.ceil(len(self.samples.targets) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng((self.seed, self.epoch))
        count = len(self.samples.targets)
        order = rng.permutation(count) if self.shuffle else np.arange(count)
        for start in range(0, count, self.batch_size):
            chosen = order[start : start + self.batch_size]
            pixels = self.samples.pixels(chosen)
            if self.shuffle:
                mirrored = rng.random(len(chosen)) < 0.5
                pixels = np.where(mirrored[:, None, None, None], pixels[:, :, ::-1], pixels)
            yield torch.from_numpy(self.recipe.normalise(pixels)), torch.from_numpy(self.samples.targets[chosen])


class FaceDataModule(lightning.LightningDataModule):
    """Training and validation samples as Lightning takes them.

    Raises:
        DatasetError: If one of the two is empty.
    """

    def __init__(
        self, training: Samples, validation: Samples, *, recipe: InputRecipe, batch_size: int, seed: int
    ) -> None:
        super().__init__()
        if len(training.targets) == 0 or len(validation.targets) == 0:
            raise DatasetError("there must be at least one image to train on and one to validate on")
        self.training = training
        self.validation = validation
        self.recipe = recipe
        self.batch_size = batch_size
        self.seed = seed

    def train_dataloader(self) -> Batches:
        """The pass of the current epoch; the trainer asks anew in each."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        return self._batches(self.training, shuffle=True, epoch=epoch)

    def val_dataloader(self) -> Batches:
        """Every validation sample once."""
        return self._batches(self.validation, shuffle=False, epoch=0)

    def _batches(self, samples: Samples, *, shuffle: bool, epoch: int) -> Batches:
        return Batches(
            samples=samples,
            recipe=self.recipe,
            batch_size=self.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            epoch=epoch,
        )
