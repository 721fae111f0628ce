"""What an image's tokens depend on besides the image."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Literal

import msgspec
import torch

from motivnet.errors import ConfigError
from motivnet.model import SapiensEncoder
from motivnet.model.runtime import Compute
from motivnet.model.sapiens import SelfAttention
from motivnet.preprocess import Preprocessing
from motivnet.schema import Schema
from motivnet_training.recipe import Augmentations


class Views(Schema, frozen=True, kw_only=True):
    """The views of an image: the first is the image itself, the others follow from the seed."""

    count: int
    seed: int
    augmentations: Augmentations


class TokenKey(Schema, frozen=True, kw_only=True):
    """Tokens are shared only if all of this is equal.

    ``encoder`` is the encoder's hash; ``shape`` is (tokens, width) of one image; ``mirrored`` means
    that left and right of the images were exchanged; ``format`` is the version of the files. With
    ``views`` the rows are a whole model's answers: ``encoder`` is the hash of its checkpoint, and
    ``shape`` is (views, classes + width).
    """

    encoder: str
    preprocess: Preprocessing
    compute: Compute
    shape: tuple[int, int]
    mirrored: bool = False
    format: Literal[1] = 1
    views: Views | None = None

    @property
    def folder_name(self) -> str:
        """One name per key: what people look for, then a hash of the whole key."""
        values = msgspec.to_builtins(self)
        if not self.mirrored:  # as caches are called that were made before there were others
            del values["mirrored"]
        if self.views is None:  # tokens cached before there were views keep their name
            del values["views"]
        text = json.dumps(values, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        height, width = self.preprocess.size
        return f"{self.preprocess.name}-{height}x{width}-{self.compute}-{digest[:16]}"

    @property
    def bytes_per_image(self) -> int:
        """The size of one image's tokens in a shard."""
        return 2 * self.shape[0] * self.shape[1]  # FP16


def token_key(
    encoder: SapiensEncoder,
    *,
    preprocess: Preprocessing,
    compute: Compute = "float32",
    mirrored: bool = False,
) -> TokenKey:
    """Return the key of an encoder's tokens for preprocessed images.

    Raises:
        ConfigError: If the images do not have the size that the encoder takes.
    """
    patch = encoder.patch_embed.projection.kernel_size
    size = tuple(count * side for count, side in zip(encoder.grid_size, patch, strict=True))
    if preprocess.size != size:
        raise ConfigError(
            f"preprocessing makes images of {preprocess.size}, the encoder takes {size}; "
            "give that size"
        )
    tokens = encoder.kept_tokens or range(math.prod(encoder.grid_size))
    return TokenKey(
        encoder=hash_encoder(encoder),
        preprocess=preprocess,
        compute=compute,
        shape=(len(tokens), encoder.pos_embed.shape[-1]),
        mirrored=mirrored,
    )


def hash_encoder(encoder: SapiensEncoder) -> str:
    """Return a SHA-256 over every weight's name, dtype, shape and bytes, heads, padding, and mask.

    The last three are no weights and leave no trace in any weight's shape, but change the tokens.
    """
    heads = [module.num_heads for module in encoder.modules() if isinstance(module, SelfAttention)]
    settings = [heads, encoder.patch_embed.projection.padding]
    if encoder.kept_tokens is not None:
        settings.append(encoder.kept_tokens)
    digest = hashlib.sha256(json.dumps(settings).encode())
    for name, weight in sorted(encoder.state_dict().items()):
        digest.update(json.dumps([name, str(weight.dtype), list(weight.shape)]).encode())
        digest.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
