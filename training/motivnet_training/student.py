"""A model that learns from another one: what it outputs while it learns, and its loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from motivnet.model import MotivNet
from motivnet_training.data import Batch

EMBEDDING_WEIGHT = 1.0
"""Of the cosine, which lies between 0 and 2 and so is never stronger than the divergence is at
first; it is what distances, and classes that are adapted later, live on."""

LABEL_WEIGHT = 0.1
"""Of the cross-entropy to labels. Hinton, Vinyals & Dean 2015 (arXiv 1503.02531) find a
considerably lower weight best: what is wanted is the teacher's answer, also where it is wrong."""


class Student(nn.Module):
    """The parts of a MotivNet, and a projection of its embedding to the teacher's width.

    In training mode it returns logits ``(B, classes)`` and the projected embedding ``(B, width)``,
    else logits. The projection is left out of checkpoints.
    """

    def __init__(self, model: MotivNet, *, width: int, seed: int) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.decoder = model.decoder
        self.projection = nn.Linear(model.encoder.pos_embed.shape[-1], width)
        generator = torch.Generator().manual_seed(seed)
        nn.init.xavier_uniform_(self.projection.weight, generator=generator)
        nn.init.zeros_(self.projection.bias)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return logits, and the projected embedding in training, of ``(B, 3, H, W)``."""
        tokens = self.encoder.tokens(image)
        logits: Tensor = self.decoder(tokens)
        if not self.training:
            return logits
        return logits, self.projection(tokens.mean(dim=1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DistillationLoss:
    """Divergence from the teacher's answers, angle to its embedding, cross-entropy to labels.

    The teacher's embeddings ``(width,)`` have a large mean in common, which says nothing about an
    image: the angle is measured around ``embedding_mean``.
    """

    classes: int
    temperature: float
    embedding_mean: Tensor

    def __call__(self, outputs: tuple[Tensor, Tensor], batch: Batch) -> Tensor:
        """Return the loss of each image ``(B,)``; an image without a label has no cross-entropy."""
        if batch.answers is None:
            raise ValueError("a student learns from a teacher's answers")
        logits, projected = (each.float() for each in outputs)
        wanted, embedding = batch.answers.tensor_split([self.classes], dim=1)
        divergence = functional.kl_div(
            functional.log_softmax(logits / self.temperature, dim=1),
            functional.log_softmax(wanted / self.temperature, dim=1),
            reduction="none",
            log_target=True,
        ).sum(dim=1)
        centred = embedding - self.embedding_mean.to(embedding.device)
        cosine = functional.cosine_similarity(projected, centred, dim=1)
        labelled = functional.cross_entropy(logits, batch.targets, reduction="none")
        # The square keeps the gradients as strong at any temperature (Hinton et al. 2015).
        answers = self.temperature**2 * divergence
        return answers + EMBEDDING_WEIGHT * (1 - cosine) + LABEL_WEIGHT * labelled
