"""TensorBoard's event files."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning
from torch.utils.tensorboard import SummaryWriter
from typing_extensions import override

from motivnet_training.state import TrainingState
from motivnet_training.steps import is_between_steps

logger = logging.getLogger(__name__)


class EventLog(lightning.Callback):
    """The loss and the learning rates by step of the optimiser, and the figures by epoch.

    What an interrupted training had written after the moment it goes on from is purged.
    """

    def __init__(self, state: TrainingState, folder: Path) -> None:
        self.state = state
        self.folder = folder
        self._writer: SummaryWriter | None = None

    @override
    def on_train_start(self, trainer: lightning.Trainer, *_: Any, **__: Any) -> None:
        """Opens the file, in the first process."""
        if trainer.is_global_zero:
            with self._without_a_full_disk():
                self._writer = SummaryWriter(
                    str(self.folder), purge_step=self.state.position.steps + 1
                )
            self._write_epoch()  # that of an epoch whose validation came after an interruption

    @override
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any
    ) -> None:
        """Writes the mean loss of the epoch so far, with each step of the optimiser."""
        if self._writer is None or not is_between_steps(trainer):
            return
        position = self.state.position
        self._write(
            {
                "loss/training, mean of the epoch so far": position.loss_sum
                / max(1, position.loss_count),
                "rate/encoder": position.encoder_lr,
                "rate/decoder": position.decoder_lr,
            }
        )

    @override
    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any, **__: Any) -> None:
        """Writes the figures; called after the epoch was added to the history."""
        self._write_epoch()

    @override
    def teardown(self, *_: Any, **__: Any) -> None:
        """Closes the file."""
        if self._writer is not None:
            with self._without_a_full_disk():
                self._writer.close()
            self._writer = None

    def _write_epoch(self) -> None:
        if self.state.position.history:
            figures = dataclasses.asdict(self.state.position.history[-1])
            left_out = ("epoch", "steps", "encoder_lr", "decoder_lr")
            self._write(
                {f"epoch/{name}": value for name, value in figures.items() if name not in left_out}
            )

    def _write(self, values: Mapping[str, float | None]) -> None:
        """At the current step; a figure that is not defined is left out."""
        if self._writer is None:
            return
        with self._without_a_full_disk():
            for name, value in values.items():
                if value is not None:
                    self._writer.add_scalar(name, value, self.state.position.steps)

    @contextlib.contextmanager
    def _without_a_full_disk(self) -> Iterator[None]:
        """A log that cannot be written ends with a warning; it is no reason to end the training."""
        try:
            yield
        except OSError as error:
            logger.warning(
                "%s cannot be written: %s; the training goes on without it",
                self.folder,
                error.strerror,
            )
            self._writer = None
