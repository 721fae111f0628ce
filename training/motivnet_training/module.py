"""What is optimised, how, and what is measured: MotivNet as a LightningModule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional

from motivnet.errors import ConfigError, TrainingError
from motivnet.model import MotivNet
from motivnet_training.data import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Learning rates of the two parts, and their course: a linear warm-up, then half a cosine down to zero."""

    encoder_lr: float = 1e-3
    decoder_lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    label_smoothing: float = 0.05

    def __post_init__(self) -> None:
        for name in ("encoder_lr", "decoder_lr"):
            rate = getattr(self, name)
            if not (math.isfinite(rate) and 0 < rate < 1):
                raise ConfigError(f"a learning rate must be between 0 and 1, not {rate}")

    def factor(self, step: int, total: int) -> float:
        """What the learning rates are multiplied by in a step of ``total``."""
        rising = max(1, round(self.warmup * total))
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))


class EmotionModule(lightning.LightningModule):
    """Trains a MotivNet with AdamW on the cross-entropy of its logits (Loshchilov & Hutter 2019).

    ``accuracy`` and ``loss`` are those of the last pass over the validation samples.

    Args:
        total_steps: Of the whole training, for the course of the learning rates.
    """

    def __init__(self, model: MotivNet, *, schedule: Schedule, total_steps: int) -> None:
        super().__init__()
        self.model = model.train()
        self.schedule = schedule
        self.total_steps = total_steps
        self.accuracy = 0.0
        self.loss = math.nan
        self._correct, self._seen, self._loss_sum = 0, 0, 0.0

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The loss of a batch.

        Raises:
            TrainingError: If it is not finite.
        """
        images, targets = batch
        loss = functional.cross_entropy(self.model(images), targets, label_smoothing=self.schedule.label_smoothing)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss.item()} in epoch {self.current_epoch + 1}, batch {batch_index + 1}; "
                "lower the learning rate"
            )
        return loss

    def on_validation_epoch_start(self) -> None:
        """Starts counting anew."""
        self._correct, self._seen, self._loss_sum = 0, 0, 0.0

    def validation_step(self, batch: Batch, _batch_index: int) -> None:
        """Counts what the model gets right."""
        images, targets = batch
        logits = self.model(images)
        self._correct += int((logits.argmax(dim=1) == targets).sum())
        self._loss_sum += float(functional.cross_entropy(logits, targets, reduction="sum"))
        self._seen += len(targets)

    def on_validation_epoch_end(self) -> None:
        """Takes the figures of the whole pass."""
        self.accuracy = self._correct / self._seen
        self.loss = self._loss_sum / self._seen

    def configure_optimizers(self) -> Any:
        """AdamW with a learning rate for each part; norms, biases and other vectors do not decay."""
        groups = [
            *_groups(self.model.encoder, lr=self.schedule.encoder_lr, weight_decay=self.schedule.weight_decay),
            *_groups(self.model.decoder, lr=self.schedule.decoder_lr, weight_decay=self.schedule.weight_decay),
        ]
        optimizer = torch.optim.AdamW(groups)
        course = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.schedule.factor(step, self.total_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": course, "interval": "step"}}


def _groups(part: nn.Module, *, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    matrices = [parameter for parameter in part.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in part.parameters() if parameter.ndim < 2]
    return [
        {"params": matrices, "lr": lr, "weight_decay": weight_decay},
        {"params": vectors, "lr": lr, "weight_decay": 0.0},
    ]
