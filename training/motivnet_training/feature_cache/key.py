"""What an image's tokens depend on besides the image."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

import torch

from motivnet.errors import ConfigError
from motivnet.model import SapiensEncoder
from motivnet.model.runtime import Compute
from motivnet.model.sapiens import SelfAttention
from motivnet.preprocess import InputRecipe

_BYTES_PER_NUMBER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKey:
    """Tokens are shared only where all of this is equal.

    ``encoder`` is the encoder's hash; ``shape`` is (tokens, width) of one image; ``format`` is the
    version of the files.
    """

    encoder: str
    recipe: InputRecipe
    compute: Compute
    shape: tuple[int, int]
    format: Literal[1] = 1

    @property
    def folder_name(self) -> str:
        """One name for each key: what people look for, then a hash of all of it."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        height, width = self.recipe.size
        return f"{self.recipe.name}-{height}x{width}-{self.compute}-{digest[:16]}"

    @property
    def bytes_per_image(self) -> int:
        """What the tokens of one image take in a shard."""
        return self.shape[0] * self.shape[1] * _BYTES_PER_NUMBER


def token_key(
    encoder: SapiensEncoder, *, recipe: InputRecipe, compute: Compute = "float32"
) -> TokenKey:
    """The key of the tokens that ``encoder`` gives for images prepared by ``recipe``.

    Raises:
        ConfigError: If the recipe's images do not have the size that the encoder takes.
    """
    patch = encoder.patch_embed.projection.kernel_size
    size = tuple(count * side for count, side in zip(encoder.grid_size, patch, strict=True))
    if recipe.size != size:
        raise ConfigError(
            f"the input recipe makes images of {recipe.size}, the encoder takes {size}; give that size"
        )
    rows, columns = encoder.grid_size
    shape = (rows * columns, encoder.pos_embed.shape[-1])
    return TokenKey(encoder=encoder_hash(encoder), recipe=recipe, compute=compute, shape=shape)


def encoder_hash(encoder: SapiensEncoder) -> str:
    """Hexadecimal SHA-256 over every weight's name, dtype, shape and bytes, the heads and the
    patches' padding.

    The last two are no weights and leave no trace in any weight's shape, but change the tokens.
    """
    heads = [module.num_heads for module in encoder.modules() if isinstance(module, SelfAttention)]
    digest = hashlib.sha256(json.dumps([heads, encoder.patch_embed.projection.padding]).encode())
    for name, weight in sorted(encoder.state_dict().items()):
        digest.update(json.dumps([name, str(weight.dtype), list(weight.shape)]).encode())
        digest.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
