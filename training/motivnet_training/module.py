"""What is optimised, how, and what is measured: MotivNet as a LightningModule."""

from __future__ import annotations

from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from motivnet.model import MotivNet
from motivnet_training.data import Batch
from motivnet_training.finite import check_loss
from motivnet_training.learning_rate import optimizer_from_recipe, scheduler_from_recipe
from motivnet_training.recipe import TrainingRecipe


class EmotionModule(lightning.LightningModule):
    """Trains a MotivNet on the cross-entropy of its logits with the labels' distributions.

    Args:
        total_steps: Of the optimiser in the whole training, for a course that advances with them.
        names: Of the training images, for what an error says.
        class_weights: What each class counts for in the loss ``(classes,)``; None for the same.
        on_tokens: The inputs are the encoder's tokens: the head alone is run.

    Attributes:
        logits: ``(N, classes)`` of the last pass over the N validation images, in their order.
        loss_sum, loss_count: Of the training batches of this epoch.
    """

    def __init__(
        self,
        model: MotivNet,
        *,
        recipe: TrainingRecipe,
        total_steps: int,
        validation_images: int,
        names: tuple[str, ...],
        class_weights: Tensor | None = None,
        on_tokens: bool = False,
    ) -> None:
        super().__init__()
        self.model = model.train()
        self.recipe = recipe
        self.total_steps = total_steps
        self.names = names
        self.on_tokens = on_tokens
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.logits: NDArray[np.float64] = np.full(
            (validation_images, model.decoder.num_classes), np.nan
        )
        self.loss_sum, self.loss_count = 0.0, 0
        self._seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``(B, classes)`` of images ``(B, 3, H, W)`` or of tokens ``(B, N, D)``."""
        logits: Tensor = self.model.decoder(inputs) if self.on_tokens else self.model(inputs)
        return logits

    def training_step(self, batch: Batch) -> Tensor:
        """The loss of a batch.

        Raises:
            TrainingError: If it is not finite.
        """
        losses = functional.cross_entropy(
            self(batch.inputs).float(),
            batch.targets,
            weight=self.class_weights,
            label_smoothing=self.recipe.label_smoothing,
            reduction="none",
        )
        loss = losses.mean()
        value = float(loss.detach())
        check_loss(losses.detach(), value, epoch=self.current_epoch, images=self.names_of(batch))
        self.loss_sum += value
        self.loss_count += 1
        return loss

    def names_of(self, batch: Batch) -> tuple[str, ...]:
        """The names of a training batch's images."""
        return tuple(self.names[index] for index in batch.indices.tolist())

    def on_validation_epoch_start(self) -> None:
        """Starts anew."""
        self._seen = []

    def validation_step(self, batch: Batch, _batch_index: int) -> None:
        """Keeps the logits."""
        self._seen.append((batch.indices, self(batch.inputs).float()))

    def on_validation_epoch_end(self) -> None:
        """Puts the logits of all processes in the order of the images."""
        indices, logits = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        if self.trainer.world_size > 1:
            indices, logits = self._gathered(indices, logits)
        self.logits[indices.cpu().numpy()] = logits.double().cpu().numpy()
        self._seen = []

    def _gathered(self, indices: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Of all processes; each is padded to the longest with its own rows, which then come twice."""
        strategy = self.trainer.strategy
        longest = int(
            strategy.reduce(torch.tensor(len(indices), device=self.device), reduce_op="max")
        )
        rows = torch.arange(longest, device=self.device) % len(indices)
        all_indices, all_logits = (
            torch.as_tensor(self.all_gather(part[rows])) for part in (indices, logits)
        )
        return all_indices.flatten(), all_logits.flatten(0, 1)

    def configure_optimizers(self) -> Any:
        """AdamW with a learning rate for each part, and the recipe's course."""
        optimizer = optimizer_from_recipe(self.model, self.recipe)
        scheduler, interval = scheduler_from_recipe(
            optimizer, self.recipe, total_steps=self.total_steps
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": interval},
        }


def emotion_module(module: lightning.LightningModule) -> EmotionModule:
    """The module that a callback is given, by its own type."""
    if not isinstance(module, EmotionModule):
        raise TypeError(f"the callback is for an EmotionModule, not a {type(module).__name__}")
    return module
