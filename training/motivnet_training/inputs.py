"""What the network is fed: images through the recipe, or tokens that the encoder gave before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motivnet.datasets.sample import Sample
from motivnet.preprocess import InputRecipe
from motivnet.progress import progress
from motivnet_training.augmentation import augment
from motivnet_training.batch_sampler import AS_IT_IS, Key
from motivnet_training.feature_cache import TokenStore
from motivnet_training.recipe import Augmentations

MEMORY_LIMIT = 1 << 30
"""Bytes of pixels that are kept in memory; a larger set is decoded anew in each epoch."""


class Pictures(Protocol):
    """Images at the model's size by index."""

    @property
    def in_memory(self) -> bool:
        """Whether fetching one costs next to nothing."""

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """RGB ``(H, W, 3)``."""


class Inputs(Protocol):
    """Batches of what the network is fed."""

    @property
    def in_memory(self) -> bool:
        """Whether a batch costs so little that other processes would not help."""

    def batch(self, keys: Sequence[Key]) -> Tensor:
        """The inputs of these images as one tensor of float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPictures:
    """Images that lie in memory, ``(N, H, W, 3)``."""

    images: NDArray[np.uint8]

    @property
    def in_memory(self) -> bool:
        """Always."""
        return True

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return np.asarray(self.images[index])


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePictures:
    """Images that are decoded whenever they are asked for."""

    samples: tuple[Sample, ...]
    recipe: InputRecipe

    @property
    def in_memory(self) -> bool:
        """Never."""
        return False

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.recipe.pixels(self.samples[index].pixels())


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInputs:
    """Normalised images ``(B, 3, H, W)``, augmented by (seed, epoch, index)."""

    pictures: Pictures
    recipe: InputRecipe
    seed: int = 0
    augmentations: Augmentations = "none"

    @property
    def in_memory(self) -> bool:
        """Whether nothing has to be decoded."""
        return self.pictures.in_memory

    def batch(self, keys: Sequence[Key]) -> Tensor:
        """Normalised images ``(B, 3, H, W)``."""
        return torch.from_numpy(
            self.recipe.normalise(np.stack([self._pixels(*key) for key in keys]))
        )

    def _pixels(self, epoch: int, index: int) -> NDArray[np.uint8]:
        pixels = self.pictures[index]
        if epoch == AS_IT_IS:
            return pixels
        return augment(pixels, self.augmentations, key=(self.seed, epoch, index))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInputs:
    """The frozen encoder's tokens ``(B, N, D)``, out of the cache."""

    store: TokenStore
    digests: tuple[str, ...]

    @property
    def in_memory(self) -> bool:
        """Never: they are read from the disk."""
        return False

    def batch(self, keys: Sequence[Key]) -> Tensor:
        """Tokens ``(B, N, D)``."""
        return torch.from_numpy(
            self.store.tokens([self.digests[index] for _, index in keys]).astype(np.float32)
        )


def pictures_of(samples: tuple[Sample, ...], recipe: InputRecipe) -> Pictures:
    """The samples' images at the recipe's size, decoded once where all of them fit into ``MEMORY_LIMIT`` bytes."""
    on_demand = SamplePictures(samples=samples, recipe=recipe)
    if len(samples) * recipe.size[0] * recipe.size[1] * 3 > MEMORY_LIMIT:
        return on_demand
    images = np.empty((len(samples), *recipe.size, 3), np.uint8)
    with progress("decoding", total=len(samples)) as advance:
        for index in range(len(samples)):
            images[index] = on_demand[index]
            advance(1)
    return MemoryPictures(images=images)
