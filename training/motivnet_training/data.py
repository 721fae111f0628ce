"""The images of a training: which of a dataset are used, and as batches of tensors."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from motivnet.datasets.read import read_dataset
from motivnet.datasets.sample import Dataset, Sample, target_distributions
from motivnet.datasets.split import Split, split_dataset
from motivnet.errors import DatasetError, MotivNetError
from motivnet.preprocess import Preprocessing
from motivnet.terminal import progress
from motivnet_engines.faces.alignment import aligned, find_points
from motivnet_training.augmentation import augment, is_mirrored
from motivnet_training.batch_sampler import NOT_AUGMENTED, BatchSampler, Key
from motivnet_training.feature_cache import TokenStore
from motivnet_training.recipe import Augmentations, TrainingRecipe

logger = logging.getLogger(__name__)

MEMORY_LIMIT = 1 << 30
"""Bytes of decoded pixels kept in memory; a larger set is decoded again in each epoch."""


class Batch(NamedTuple):
    """Inputs, label distributions ``(B, classes)``, and the indices of the images ``(B,)``.

    ``answers`` are a teacher's for the same inputs, ``(B, classes + width)``: logits and embedding.
    """

    inputs: Tensor
    targets: Tensor
    indices: Tensor
    answers: Tensor | None = None


class Inputs(Protocol):
    """The network's inputs by image."""

    @property
    def in_memory(self) -> bool:
        """Whether a batch is so cheap to make that worker processes would not help."""

    def batch(self, keys: Sequence[Key]) -> Tensor:
        """Return the inputs of these images as one float32 tensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInputs:
    """Normalised images ``(B, 3, H, W)``, augmented by (seed, epoch, index).

    ``decoded`` has the pixels ``(N, H, W, 3)`` of all images where they fit into memory.
    """

    samples: Sequence[Sample]
    preprocess: Preprocessing
    decoded: NDArray[np.uint8] | None = None
    seed: int = 0
    augmentations: Augmentations = "none"

    @property
    def in_memory(self) -> bool:
        """Whether nothing has to be decoded."""
        return self.decoded is not None

    def batch(self, keys: Sequence[Key]) -> Tensor:
        """Return normalised images ``(B, 3, H, W)``."""
        pixels = np.stack([self._pixels(epoch, index) for epoch, index in keys])
        return torch.from_numpy(self.preprocess.normalise(pixels))

    def _pixels(self, epoch: int, index: int) -> NDArray[np.uint8]:
        if self.decoded is not None:
            pixels: NDArray[np.uint8] = self.decoded[index]
        else:
            face = aligned(self.preprocess, self.samples[index].pixels())
            pixels = self.preprocess.pixels(face)
        if epoch == NOT_AUGMENTED:
            return pixels
        return augment(pixels, self.augmentations, key=(self.seed, epoch, index))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInputs:
    """The frozen encoder's tokens ``(B, N, D)`` from the cache.

    With the tokens of the ``mirrored`` images too, an image is mirrored in half of the epochs, as
    ``augment`` does it.
    """

    store: TokenStore
    digests: tuple[str, ...]
    mirrored: TokenStore | None = None
    seed: int = 0
    in_memory: bool = False

    def batch(self, keys: Sequence[Key]) -> Tensor:
        """Return tokens ``(B, N, D)``."""
        rows = [self._store(epoch, index).tokens([self.digests[index]])[0] for epoch, index in keys]
        return torch.from_numpy(np.stack(rows).astype(np.float32))

    def _store(self, epoch: int, index: int) -> TokenStore:
        if self.mirrored is None or epoch == NOT_AUGMENTED:
            return self.store
        return self.mirrored if is_mirrored(key=(self.seed, epoch, index)) else self.store


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledInputs:
    """Inputs with their label distributions ``(N, classes)`` and names; read in batches of keys.

    ``answers`` are those of a teacher, if there is one. The distribution of an image without a
    label is zero.
    """

    inputs: Inputs
    targets: Tensor
    names: tuple[str, ...]
    answers: Inputs | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        indices = torch.tensor([index for _, index in keys])
        return Batch(
            inputs=self.inputs.batch(keys),
            targets=self.targets[indices],
            indices=indices,
            answers=None if self.answers is None else self.answers.batch(keys),
        )

    @property
    def labels(self) -> NDArray[np.int64]:
        """The most likely label of each image ``(N,)``."""
        return np.asarray(self.targets.argmax(dim=1).numpy(), np.int64)


def label_inputs(samples: Sequence[Sample], inputs: Inputs, *, classes: int) -> LabelledInputs:
    """Return the inputs with the samples' labels, which are soft where people voted.

    Raises:
        DatasetError: If there is no sample.
    """
    if not samples:
        raise DatasetError("there must be at least one image to train on and one to validate on")
    targets = torch.from_numpy(target_distributions(samples, classes=classes))
    return LabelledInputs(
        inputs=inputs, targets=targets, names=tuple(sample.name for sample in samples)
    )


def decode_images(samples: Sequence[Sample], preprocess: Preprocessing) -> NDArray[np.uint8] | None:
    """Return the images' pixels at the model's size, or None if ``MEMORY_LIMIT`` is too small."""
    if len(samples) * preprocess.size[0] * preprocess.size[1] * 3 > MEMORY_LIMIT:
        return None
    images = np.empty((len(samples), *preprocess.size, 3), np.uint8)
    with progress("decoding", total=len(samples)) as advance:
        for index, sample in enumerate(samples):
            images[index] = preprocess.pixels(aligned(preprocess, sample.pixels()))
            advance(1)
    return images


def warn_of_unaligned(samples: Sequence[Sample]) -> None:
    """Warn of the images in which no face is found, which are therefore not aligned."""
    missing = []
    with progress("finding the faces to align", total=len(samples)) as advance:
        for sample in samples:
            if find_points(sample.pixels()) is None:
                missing.append(sample.name)
            advance(1)
    if missing:
        logger.warning(
            "no face was found in %d of %d images, such as %s: they are used as they are, "
            "not aligned",
            len(missing),
            len(samples),
            missing[0],
        )


def iterate_batches(
    data: LabelledInputs, sampler: BatchSampler, *, workers: int = 0
) -> Iterator[Batch]:
    """Yield the sampler's batches, made by ``workers`` processes if there are any.

    Raises:
        MotivNetError: If an image cannot be read.
    """
    loader: DataLoader[Batch | MotivNetError] = DataLoader(
        _WithErrors(data),  # type: ignore[arg-type]  # a map of keys, not of numbers
        batch_sampler=sampler,
        num_workers=0 if data.inputs.in_memory else workers,
        collate_fn=_keep,  # type: ignore[arg-type]  # the data makes batches, not lists
        worker_init_fn=_limit_threads,
        generator=torch.Generator(),  # else each loader draws from the training's RNG stream
    )
    for batch in loader:
        if isinstance(batch, MotivNetError):
            raise batch
        yield batch


def read_split(
    path: Path,
    recipe: TrainingRecipe,
    *,
    labels: tuple[str, ...],
    seed: int,
    allow_outside: bool = False,
) -> tuple[Dataset, Split]:
    """Return a dataset, and the images that the recipe trains, validates and tests on."""
    dataset = read_dataset(path, labels=labels, check=False, allow_outside=allow_outside)
    split = split_dataset(
        dataset,
        seed=seed,
        validation_share=recipe.validation_share,
        stratified=recipe.stratified,
        per_class=recipe.per_class,
    )
    return dataset, split


@dataclass(frozen=True, slots=True)
class _WithErrors:
    """Returns a user's error in place of a batch: torch would show the worker's traceback."""

    data: LabelledInputs

    def __getitems__(self, keys: Sequence[Key]) -> Batch | MotivNetError:
        try:
            return self.data.__getitems__(keys)
        except MotivNetError as error:
            return error


def _keep(batch: Batch | MotivNetError) -> Batch | MotivNetError:
    return batch


def _limit_threads(_worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
