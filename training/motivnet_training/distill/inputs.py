"""A student's batches: views of the images, and what the teacher answered to the same views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from motivnet.datasets.sample import Sample
from motivnet.preprocess import Preprocessing
from motivnet.terminal import progress
from motivnet_engines.faces.alignment import aligned
from motivnet_training.answers import Pixels, view
from motivnet_training.batch_sampler import NOT_AUGMENTED, Key
from motivnet_training.data import MEMORY_LIMIT
from motivnet_training.feature_cache import TokenStore, Views


def view_number(epoch: int, index: int, *, views: Views) -> int:
    """Return which view of an image an epoch shows: all in turn, and different ones in a batch."""
    return 0 if epoch == NOT_AUGMENTED else (epoch + index) % views.count


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewInputs:
    """Normalised views ``(B, 3, H, W)`` of images, made from their own pixels.

    ``decoded`` has the pixels of all images where they fit into memory.
    """

    samples: Sequence[Sample]
    digests: Sequence[str]
    preprocess: Preprocessing
    views: Views
    decoded: tuple[Pixels, ...] | None = None

    @property
    def in_memory(self) -> bool:
        """Whether nothing has to be decoded."""
        return self.decoded is not None

    def batch(self, keys: Sequence[Key]) -> Tensor:
        """Return normalised views ``(B, 3, H, W)``."""
        pixels = np.stack([self.preprocess.pixels(self._view(*key)) for key in keys])
        return torch.from_numpy(self.preprocess.normalise(pixels))

    def _view(self, epoch: int, index: int) -> Pixels:
        source = self.samples[index].pixels() if self.decoded is None else self.decoded[index]
        source = aligned(self.preprocess, source)
        number = view_number(epoch, index, views=self.views)
        return view(source, number, digest=self.digests[index], views=self.views)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerInputs:
    """The teacher's answers ``(B, classes + width)`` to the views that ``ViewInputs`` makes."""

    store: TokenStore
    digests: Sequence[str]
    views: Views
    in_memory: bool = False

    def batch(self, keys: Sequence[Key]) -> Tensor:
        """Return logits and embedding beside each other."""
        rows = self.store.tokens([self.digests[index] for _, index in keys])
        numbers = [view_number(epoch, index, views=self.views) for epoch, index in keys]
        return torch.from_numpy(rows[np.arange(len(keys)), numbers].astype(np.float32))


def decode_sources(samples: Sequence[Sample]) -> tuple[Pixels, ...] | None:
    """Return the images' own pixels, or None if they need more than ``MEMORY_LIMIT``."""
    found: list[Pixels] = []
    total = 0
    with progress("decoding", total=len(samples)) as advance:
        for sample in samples:
            found.append(sample.pixels())
            total += found[-1].nbytes
            if total > MEMORY_LIMIT:
                return None
            advance(1)
    return tuple(found)
