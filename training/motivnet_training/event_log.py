"""TensorBoard's event files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import lightning
from torch.utils.tensorboard import SummaryWriter
from typing_extensions import override

from motivnet_training.state import TrainingState
from motivnet_training.steps import is_between_steps


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
            self._writer = SummaryWriter(str(self.folder), purge_step=self.state.position.steps + 1)

    @override
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any
    ) -> None:
        """Writes the mean loss of the epoch so far, with each step of the optimiser."""
        position = self.state.position
        if self._writer is None or not is_between_steps(trainer):
            return
        for name, value in (
            ("loss/training, mean of the epoch so far", position.loss_sum / max(1, position.loss_count)),
            ("rate/encoder", position.encoder_lr),
            ("rate/decoder", position.decoder_lr),
        ):
            self._writer.add_scalar(name, value, position.steps)

    @override
    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any, **__: Any) -> None:
        """Writes the figures; called after the epoch was added to the history."""
        if self._writer is None or not self.state.position.history:
            return
        for name, value in dataclasses.asdict(self.state.position.history[-1]).items():
            if name not in ("epoch", "steps", "encoder_lr", "decoder_lr") and value is not None:
                self._writer.add_scalar(f"epoch/{name}", value, self.state.position.steps)
        self._writer.flush()

    @override
    def teardown(self, *_: Any, **__: Any) -> None:
        """Closes the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
