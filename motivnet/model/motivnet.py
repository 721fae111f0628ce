"""MotivNet: a Sapiens encoder with an ML-Decoder head."""

from __future__ import annotations

import msgspec
import torch
from torch import Tensor, nn

from motivnet.config import ModelConfig
from motivnet.model.ml_decoder import MLDecoder
from motivnet.model.sapiens import SapiensEncoder


class MotivNet(nn.Module):
    """Logits of the emotions shown by one face per image."""

    def __init__(self, encoder: SapiensEncoder, decoder: MLDecoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, image: Tensor) -> Tensor:
        """Return logits ``(B, classes)`` of normalised images ``(B, 3, H, W)``."""
        logits: Tensor = self.decoder(self.encoder.tokens(image))
        return logits

    def logits_and_embedding(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``(B, classes)`` and the mean of the encoder's final tokens ``(B, D)``."""
        tokens = self.encoder.tokens(image)
        return self.decoder(tokens), tokens.mean(dim=1)


def build_model(config: ModelConfig, *, seed: int | None = 0) -> MotivNet:
    """Return a MotivNet with random weights, on the CPU, in evaluation mode.

    With the seed None they are left as allocated, for a model that is about to be loaded.
    """
    model = outline_model(config).to_empty(device="cpu")
    if seed is not None:
        initialise(model, torch.Generator().manual_seed(seed))
    return model


def outline_model(config: ModelConfig) -> MotivNet:
    """Return a MotivNet on the meta device, without memory for weights, in evaluation mode."""
    encoder = msgspec.to_builtins(config.encoder)
    decoder = msgspec.to_builtins(config.decoder)
    with torch.device("meta"):
        model = MotivNet(
            SapiensEncoder(**encoder), MLDecoder(in_dim=config.encoder.embed_dim, **decoder)
        )
    return model.eval()


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Set random weights: truncated normal of deviation 0.02, unit norms, zero biases.

    The values are those of Dosovitskiy et al. 2020 for the transformer; queries are unit normal
    as in Ridnik et al. 2021.
    """
    for name, parameter in module.named_parameters():
        with torch.no_grad():
            if name.endswith("bias"):
                parameter.zero_()
            elif "norm" in name:
                parameter.fill_(1.0)
            elif name.endswith("queries"):
                parameter.normal_(generator=generator)
            else:
                nn.init.trunc_normal_(parameter, std=0.02, a=-0.04, b=0.04, generator=generator)
