"""Training and validation images as Lightning takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import override

from motivnet.datasets.sample import Sample
from motivnet.datasets.targets import targets_of
from motivnet.errors import DatasetError, MotivNetError
from motivnet_training.batch_sampler import FixedOrder, Key, Shard, TrainingOrder, batches_per_epoch
from motivnet_training.inputs import Inputs


class Batch(NamedTuple):
    """Inputs, the labels' distributions ``(B, classes)``, and the places of the images in their set ``(B,)``."""

    inputs: Tensor
    targets: Tensor
    indices: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledInputs:
    """Inputs with their distributions ``(N, classes)`` and names; a dataset of torch's that is asked for batches."""

    inputs: Inputs
    targets: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: Key) -> Batch:
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        indices = torch.tensor([index for _, index in keys])
        return Batch(inputs=self.inputs.batch(keys), targets=self.targets[indices], indices=indices)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The most likely label of each image ``(N,)``."""
        return np.asarray(self.targets.argmax(dim=1).numpy(), np.int64)


def labelled_inputs(samples: Sequence[Sample], inputs: Inputs, *, classes: int) -> LabelledInputs:
    """Inputs with the samples' labels, soft where people voted.

    Raises:
        DatasetError: If there is no sample.
    """
    if not samples:
        raise DatasetError("there must be at least one image to train on and one to validate on")
    targets = torch.from_numpy(targets_of(samples, classes=classes))
    return LabelledInputs(
        inputs=inputs, targets=targets, names=tuple(sample.name for sample in samples)
    )


class FaceData(lightning.LightningDataModule):
    """The two sets in the order of ``order.py``.

    Args:
        workers: Processes that prepare batches; 0 for none.

    Attributes:
        start: The batch, of one process, at which the epoch ``start_epoch`` begins; others begin at
        their first.
    """

    def __init__(
        self,
        training: LabelledInputs,
        validation: LabelledInputs,
        *,
        batch_size: int,
        seed: int,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.training = training
        self.validation = validation
        self.batch_size = batch_size
        self.seed = seed
        self.workers = workers
        self.start_epoch, self.start = 0, 0

    def train_dataloader(self) -> DataLoader[Batch]:
        """The pass of the current epoch; the trainer asks anew in each."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        start = self.start if epoch == self.start_epoch else 0
        order = TrainingOrder(
            count=len(self.training),
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=epoch,
            start=start,
            shard=self._shard(),
        )
        return self._loader(self.training, order)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every validation image, in order and as it is."""
        return self._loader(
            self.validation,
            FixedOrder(count=len(self.validation), batch_size=self.batch_size, shard=self._shard()),
        )

    @override
    def on_before_batch_transfer(self, batch: Batch | MotivNetError, dataloader_idx: int) -> Batch:
        """Raises the error of a worker here; called by Lightning for each batch, in the process that trains."""
        if isinstance(batch, MotivNetError):
            raise batch
        return batch

    def batches_of_an_epoch(self, *, world: int) -> int:
        """Training batches that each of ``world`` processes sees in an epoch."""
        return batches_per_epoch(len(self.training), self.batch_size, world=world)

    def _shard(self) -> Shard:
        return (
            Shard(rank=self.trainer.global_rank, world=self.trainer.world_size)
            if self.trainer
            else Shard()
        )

    def _loader(self, data: LabelledInputs, order: TrainingOrder | FixedOrder) -> DataLoader[Batch]:
        workers = 0 if data.inputs.in_memory else self.workers
        return DataLoader(
            _Carrying(data) if workers else data,  # type: ignore[arg-type]  # a map of keys, not of numbers
            batch_sampler=order,
            num_workers=workers,
            collate_fn=_as_it_is,  # type: ignore[arg-type]  # the data set makes batches, not lists
            worker_init_fn=_start_worker,
        )


@dataclass(frozen=True, slots=True)
class _Carrying:
    """What workers are given: an error that is meant for the user is handed over in the place of
    its batch.

    Torch raises what a worker raises as an error whose text is the worker's traceback.
    """

    data: LabelledInputs

    def __getitems__(self, keys: Sequence[Key]) -> Batch | MotivNetError:
        try:
            return self.data.__getitems__(keys)
        except MotivNetError as error:
            return error


def _as_it_is(batch: Batch | MotivNetError) -> Batch | MotivNetError:
    """The data set has made a batch already."""
    return batch


def _start_worker(_number: int) -> None:
    """A worker is one thread among several processes."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
