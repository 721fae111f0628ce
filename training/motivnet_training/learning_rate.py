"""The course of the learning rates, and which weights learn at which rate."""

from __future__ import annotations

import functools
import math
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LambdaLR, LRScheduler

from motivnet.model import MotivNet
from motivnet_training.recipe import TrainingRecipe

Interval = Literal["epoch", "step"]


def optimizer_from_recipe(model: MotivNet, recipe: TrainingRecipe) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019) with a learning rate for the encoder, unless it is frozen, and for the head."""
    parts = {"encoder": recipe.encoder_lr, "decoder": recipe.decoder_lr}
    groups = [
        group
        for name, rate in parts.items()
        if rate > 0
        for group in _groups(getattr(model, name), name=name, rate=rate, recipe=recipe)
    ]
    return torch.optim.AdamW(groups)


def scheduler_from_recipe(
    optimizer: torch.optim.Optimizer, recipe: TrainingRecipe, *, total_steps: int
) -> tuple[LRScheduler, Interval]:
    """The course of the rates, and whether it advances with each epoch or with each step of the optimiser."""
    if recipe.course == "warm-restarts":
        restarts = CosineAnnealingWarmRestarts(
            optimizer, T_0=recipe.restart_epochs, T_mult=recipe.restart_factor
        )
        return restarts, "epoch"
    factor = functools.partial(cosine_factor, total=total_steps, warmup=recipe.warmup)
    return LambdaLR(optimizer, factor), "step"


def cosine_factor(step: int, *, total: int, warmup: float) -> float:
    """What the rates are multiplied by in a step of ``total``: a linear rise over a share of them, half a cosine."""
    rising = max(1, round(warmup * total))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, total - rising))))


def _groups(
    part: nn.Module, *, name: str, rate: float, recipe: TrainingRecipe
) -> list[dict[str, Any]]:
    common = {"name": name, "lr": rate}
    parameters = list(part.parameters())
    if recipe.decay_vectors:
        return [{**common, "params": parameters, "weight_decay": recipe.weight_decay}]
    return [
        {
            **common,
            "params": [each for each in parameters if each.ndim >= 2],
            "weight_decay": recipe.weight_decay,
        },
        {**common, "params": [each for each in parameters if each.ndim < 2], "weight_decay": 0.0},
    ]
