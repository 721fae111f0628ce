"""Numbers that are not finite stop a training in the step in which they appear."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import lightning
import torch
from torch import Tensor
from typing_extensions import override

from motivnet.errors import TrainingError
from motivnet_training.data import Batch
from motivnet_training.finite import ADVICE, all_finite, place_of
from motivnet_training.module import emotion_module
from motivnet_training.steps import is_between_steps

logger = logging.getLogger(__name__)


class FiniteGuard(lightning.Callback):
    """Looks at gradients before, and at weights and the optimiser's state after each of its steps.

    With ``16-mixed`` an infinite gradient is part of the method (the loss scaler skips that step):
    only one at a scale of 1 or below is an error.
    """

    def __init__(self) -> None:
        self.images: list[str] = []

    @override
    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Remembers which images the gradients come from."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self.images = []
        self.images += emotion_module(pl_module).names_of(batch)

    @override
    def on_before_optimizer_step(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Looks at the gradients, before they are clipped."""
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        if not _is_scaled(trainer):
            self._check(gradients, "a gradient", trainer)
        elif not all_finite(gradients):
            logger.warning(
                "a gradient overflowed in %s: the step is left out",
                place_of(pl_module.current_epoch, self.images),
            )

    @override
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any
    ) -> None:
        """Looks at the weights and the optimiser's moments."""
        if not is_between_steps(trainer):
            return
        self._check(pl_module.parameters(), "a weight", trainer)
        for optimizer in trainer.optimizers:
            moments = (each for state in optimizer.state.values() for each in state.values())
            self._check(
                (each for each in moments if isinstance(each, Tensor)),
                "the optimiser's state",
                trainer,
            )

    def _check(self, tensors: Iterable[Tensor], what: str, trainer: lightning.Trainer) -> None:
        if not all_finite(tensors):
            place = place_of(trainer.current_epoch, self.images)
            raise TrainingError(f"{what} became NaN or infinite in {place}; {ADVICE}")


def _is_scaled(trainer: lightning.Trainer) -> bool:
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return scaler is not None and scaler.get_scale() > 1
