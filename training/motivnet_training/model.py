"""The model to train, the optimizer of its parts, and the learning-rate schedule."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from motivnet.config import ModelConfig
from motivnet.model import MotivNet, build_model
from motivnet_training.recipe import TrainingRecipe
from motivnet_training.student import Student

_POSITION_DEVIATION = 0.3


def fresh_model(config: ModelConfig, *, seed: int) -> MotivNet:
    """Return a MotivNet to train from scratch.

    The deviation of 0.02 of large vision transformers keeps the signal of a narrow one so faint
    that it learns nothing for many epochs. Here every matrix keeps the variance of its input
    (Glorot & Bengio 2010), and positions are as strong as the patches that they are added to.
    """
    model = build_model(config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith(("pos_embed", "queries", "class_token")):
            continue
        if name.endswith("group_weight"):  # (groups, embed_dim, classes per group)
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5, generator=generator)
        elif parameter.ndim >= 2:
            nn.init.xavier_uniform_(parameter.data.flatten(1), generator=generator)
    nn.init.normal_(model.encoder.pos_embed, std=_POSITION_DEVIATION, generator=generator)
    return model


def prepare_model(model: MotivNet | Student, recipe: TrainingRecipe) -> None:
    """Freeze, checkpoint and compile the parts of a model as the recipe says.

    With gradient checkpointing every block of the encoder keeps only its input for the backward
    pass and runs its forward pass again (Chen et al. 2016): about a third more time, for the
    activations of one block in place of all. Weights keep their names.
    """
    model.train()
    model.encoder.requires_grad_(not recipe.is_frozen)
    if recipe.gradient_checkpointing:
        for block in model.encoder.blocks:
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
    if recipe.compile:
        (model.decoder if recipe.cached else model).compile()


def model_from_weights(weights: Mapping[str, Tensor], config: ModelConfig) -> MotivNet:
    """Return a model on the CPU with these weights, whose memory it shares if they are there."""
    model = build_model(config, seed=None)
    model.load_state_dict({name: weight.cpu() for name, weight in weights.items()}, assign=True)
    return model


def class_weights(targets: Tensor) -> Tensor:
    """Return weights ``(classes,)`` inverse to how often each class occurs, 0 where it never does.

    The mean weight of an image is 1. ``targets`` are the label distributions ``(N, classes)``.
    """
    counts = targets.sum(dim=0)
    occurring = counts > 0
    return torch.where(occurring, counts.sum() / (occurring.sum() * counts.clamp(min=1e-12)), 0.0)


def optimizer_from_recipe(model: MotivNet | Student, recipe: TrainingRecipe) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov & Hutter 2019) for the head, and the encoder unless it is frozen.

    A student's projection learns at the rate of the head.
    """
    groups: list[dict[str, Any]] = []
    for name, rate in (("encoder", recipe.encoder_lr), ("decoder", recipe.decoder_lr)):
        if rate == 0:
            continue
        common = {"name": name, "lr": rate}
        parameters = [
            each
            for place, each in model.named_parameters()
            if place.startswith("encoder.") == (name == "encoder")
        ]
        if recipe.decay_vectors:
            matrices, vectors = parameters, []
        else:
            matrices = [each for each in parameters if each.ndim >= 2]
            vectors = [each for each in parameters if each.ndim < 2]
        groups.append({**common, "params": matrices, "weight_decay": recipe.weight_decay})
        if vectors:
            groups.append({**common, "params": vectors, "weight_decay": 0.0})
    return torch.optim.AdamW(groups)


def learning_rates(
    recipe: TrainingRecipe, *, epoch: int, step: int, total_steps: int
) -> dict[str, float]:
    """Return the learning rates of encoder and decoder in a step of the whole training.

    Both numbers count from 0: the schedule is a function of the position, so that nothing of it has
    to be saved.
    """
    if recipe.lr_schedule == "warm-restarts":
        factor = _warm_restarts(epoch, length=recipe.restart_epochs, growth=recipe.restart_factor)
    else:
        factor = _warmup_and_cosine(step, total=total_steps, warmup=recipe.warmup)
    return {"encoder": recipe.encoder_lr * factor, "decoder": recipe.decoder_lr * factor}


def _warm_restarts(epoch: int, *, length: int, growth: int) -> float:
    while epoch >= length:
        epoch -= length
        length *= growth
    return (1 + math.cos(math.pi * epoch / length)) / 2


def _warmup_and_cosine(step: int, *, total: int, warmup: float) -> float:
    rising = max(1, round(warmup * total))
    if step < rising:
        return (step + 1) / rising
    share = min(1.0, (step - rising) / max(1, total - rising))
    return (1 + math.cos(math.pi * share)) / 2
