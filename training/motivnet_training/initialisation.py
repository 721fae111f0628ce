"""Fresh weights that a small model learns from quickly."""

from __future__ import annotations

import torch
from torch import nn

from motivnet.config import ModelConfig
from motivnet.model import MotivNet, build_model

_POSITION_DEVIATION = 0.3


def fresh_model(config: ModelConfig, *, seed: int) -> MotivNet:
    """A MotivNet to train from scratch.

    The deviation of 0.02 of large vision transformers keeps the signal of a narrow one so faint
    that it learns nothing for many epochs; here every matrix keeps the variance of its input
    (Glorot & Bengio 2010), and positions are as strong as the patches that they are added to.
    """
    model = build_model(config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    _initialise_matrices(model, generator)
    nn.init.normal_(model.encoder.pos_embed, std=_POSITION_DEVIATION, generator=generator)
    return model


def _initialise_matrices(model: nn.Module, generator: torch.Generator) -> None:
    for name, parameter in model.named_parameters():
        if name.endswith(("pos_embed", "queries", "class_token")):
            continue
        if name.endswith("group_weight"):  # (groups, embed_dim, classes per group)
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5, generator=generator)
        elif parameter.ndim >= 2:
            nn.init.xavier_uniform_(parameter.data.flatten(1), generator=generator)
