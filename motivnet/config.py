"""The sizes of a MotivNet as plain numbers, with the published ones by name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from motivnet import schema
from motivnet.errors import ConfigError
from motivnet.files import read_bytes
from motivnet.schema import Schema, SchemaError

# A configuration may come from a downloaded file. These bounds are far above every published model
# and keep a damaged or hostile one from asking for more memory than there is.
MAX_DIMENSION = 65_536
MAX_SIDE = 4_096
"""Pixels; the published models take images of 1024x768."""

MAX_TOKENS = 65_536
"""Patches per image; the published models have 3,072."""

MAX_SCORES = 1 << 31
"""Attention scores per layer and image; the largest published model has 302 million."""

MAX_DEPTH = 1_024
MAX_PARAMETERS = 20_000_000_000


class EncoderConfig(Schema, frozen=True, kw_only=True):
    """A Sapiens v1 encoder (Khirodkar et al. 2024, arXiv 2408.12569).

    ``image_size`` is (height, width) in pixels. ``patch_padding`` pixels of zeros surround the
    image before it is cut into patches, which keeps the number of patches at ``image_size //
    patch_size``. ``kept_tokens`` are the positions, numbered row by row, whose tokens the blocks
    compute, in a model that leaves the others out; None for all.
    """

    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: float = 4.0
    patch_size: int = 16
    patch_padding: int = 2
    image_size: tuple[int, int] = (1024, 768)
    kept_tokens: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        _check_positive(self, "embed_dim", "depth", "num_heads", "mlp_ratio", "patch_size")
        _check_blocks("encoder", self)
        _check(
            0 <= self.patch_padding < self.patch_size,
            f"patch_padding {self.patch_padding} must be at least 0 "
            f"and below patch_size {self.patch_size}",
        )
        _check(
            self.mlp_dim >= 1, f"mlp_ratio {self.mlp_ratio} leaves the MLP without a hidden unit"
        )
        self._check_image_size()
        self._check_kept_tokens()

    def _check_image_size(self) -> None:
        shown = f"image_size {list(self.image_size)}"
        for side in self.image_size:
            _check(
                self.patch_size <= side <= MAX_SIDE and side % self.patch_size == 0,
                f"{shown} must be multiples of the patch size {self.patch_size}, "
                f"at most {MAX_SIDE}",
            )
        tokens = self.grid_size[0] * self.grid_size[1]
        _check(
            tokens <= MAX_TOKENS and self.num_heads * tokens**2 <= MAX_SCORES,
            f"{shown} in patches of {self.patch_size} gives {tokens:,} tokens, too many for the "
            f"attention of {self.num_heads} heads",
        )

    def _check_kept_tokens(self) -> None:
        if self.kept_tokens is None:
            return
        (rows, columns), kept = self.grid_size, self.kept_tokens
        _check(
            0 < len(kept) < rows * columns
            and kept[0] >= 0
            and kept[-1] < rows * columns
            and all(first < second for first, second in itertools.pairwise(kept)),
            f"kept_tokens must be some, in order, of the positions 0 to {rows * columns - 1} of "
            f"{self.image_size[0]}x{self.image_size[1]} pixels",
        )

    @property
    def tokens(self) -> int:
        """Tokens that the blocks compute per image."""
        rows, columns = self.grid_size
        return rows * columns if self.kept_tokens is None else len(self.kept_tokens)

    @property
    def grid_size(self) -> tuple[int, int]:
        """Patches as (rows, columns)."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @property
    def mlp_dim(self) -> int:
        """Hidden units of each block's MLP."""
        return int(self.embed_dim * self.mlp_ratio)

    @property
    def parameters(self) -> int:
        """Trainable numbers of the encoder, counted without building it."""
        width, (rows, columns) = self.embed_dim, self.grid_size
        patches = width * (3 * self.patch_size**2 + 1) + rows * columns * width
        norm = 2 * width
        block = _attention_parameters(width) + _mlp_parameters(width, self.mlp_dim) + 2 * norm
        return patches + self.depth * block + norm

    @property
    def flop(self) -> int:
        """Floating-point operations per image, two for each product that is summed."""
        width, (rows, columns), tokens = self.embed_dim, self.grid_size, self.tokens
        patches = rows * columns * 3 * self.patch_size**2 * width
        linear = tokens * (4 * width**2 + 2 * width * self.mlp_dim)
        attention = 2 * tokens**2 * width
        return 2 * (patches + self.depth * (linear + attention))


class DecoderConfig(Schema, frozen=True, kw_only=True):
    """An ML-Decoder head (Ridnik et al. 2021, arXiv 2111.12933).

    It has ``num_groups`` queries for ``num_classes`` classes.
    """

    embed_dim: int = 1152
    num_heads: int = 8
    depth: int = 2
    mlp_dim: int = 2048
    num_groups: int = 7
    num_classes: int = 7

    def __post_init__(self) -> None:
        _check_positive(self, *self.__struct_fields__)
        _check_blocks("decoder", self)
        _check(
            self.num_groups <= self.num_classes,
            f"num_groups {self.num_groups} must not exceed num_classes {self.num_classes}",
        )

    def parameters(self, in_dim: int) -> int:
        """Trainable numbers of the head on tokens of ``in_dim``, counted without building it."""
        width, per_group = self.embed_dim, -(-self.num_classes // self.num_groups)
        projection = width * (in_dim + 1)
        queries = self.num_groups * width
        norms = 3 * 2 * width
        block = _attention_parameters(width) + _mlp_parameters(width, self.mlp_dim) + norms
        outputs = self.num_groups * width * per_group + self.num_classes
        return projection + queries + self.depth * block + outputs

    def flop(self, in_dim: int, *, tokens: int) -> int:
        """Floating-point operations per image of so many tokens of ``in_dim``."""
        width, queries = self.embed_dim, self.num_groups
        per_group = -(-self.num_classes // queries)
        projection = tokens * in_dim * width
        linear = 2 * (tokens + queries) * width**2 + 2 * queries * width * self.mlp_dim
        attention = 2 * queries * tokens * width
        return 2 * (projection + self.depth * (linear + attention) + queries * width * per_group)


class ModelConfig(Schema, frozen=True, kw_only=True):
    """Encoder and decoder of one MotivNet."""

    encoder: EncoderConfig
    decoder: DecoderConfig

    def __post_init__(self) -> None:
        _check(
            self.parameters <= MAX_PARAMETERS,
            f"a model of {self.parameters:,} parameters is beyond the {MAX_PARAMETERS:,} allowed",
        )

    @property
    def parameters(self) -> int:
        """Trainable numbers of the whole model."""
        return self.encoder.parameters + self.decoder.parameters(self.encoder.embed_dim)

    @property
    def flop(self) -> int:
        """Floating-point operations per image: 9.3e12 of ``sapiens-1b`` at 1024x768."""
        encoder = self.encoder
        return encoder.flop + self.decoder.flop(encoder.embed_dim, tokens=encoder.tokens)

    @classmethod
    def named(
        cls, name: str, num_classes: int = 7, *, image_size: tuple[int, int] | None = None
    ) -> ModelConfig:
        """Return the configuration of a size by its name, such as ``sapiens-1b`` or ``vit-s``.

        Args:
            num_classes: Outputs; one query group per class.
            image_size: (height, width) in pixels, if it differs from the named size's.

        Raises:
            ConfigError: If ``name`` is no key of ``NAMED_SIZES``.
        """
        if name not in NAMED_SIZES:
            known = ", ".join(NAMED_SIZES)
            raise ConfigError(
                f"no model is called {name!r}; choose one of {known}, or a .json file"
            )
        size, replace = NAMED_SIZES[name], msgspec.structs.replace
        decoder = replace(size.decoder, num_groups=num_classes, num_classes=num_classes)
        config = cls(encoder=size.encoder, decoder=decoder)
        return config.at(image_size) if image_size else config

    @classmethod
    def from_json(cls, path: Path | str) -> ModelConfig:
        """Return the configuration in a JSON file ``{"encoder": {…}, "decoder": {…}}``.

        Raises:
            ConfigError: If the file is not strict JSON or not a configuration.
            FileError: If it cannot be read.
        """
        path = Path(path)
        data = read_bytes(path, max_bytes=schema.MAX_BYTES)
        try:
            return schema.decode(data, cls)
        except SchemaError as error:
            raise ConfigError(f"{path}: not a model configuration: {error}") from error
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    def at(self, image_size: tuple[int, int]) -> ModelConfig:
        """Return the same model for images of (height, width) pixels.

        Raises:
            ConfigError: If the sides are no multiples of the patch size, the image is too large, or
                the model keeps some tokens of another size.
        """
        encoder, replace = self.encoder, msgspec.structs.replace
        _check(
            encoder.kept_tokens is None or image_size == encoder.image_size,
            f"the model keeps {encoder.tokens} of the tokens of {encoder.image_size[0]}x"
            f"{encoder.image_size[1]} pixels, and cannot take {image_size[0]}x{image_size[1]}; "
            "start from the model that has all tokens",
        )
        return replace(self, encoder=replace(encoder, image_size=image_size))

    def keeping(self, tokens: Iterable[int] | None) -> ModelConfig:
        """Return the same model with the tokens of these positions alone, or of all for None.

        Raises:
            ConfigError: If they are not some of the positions.
        """
        replace = msgspec.structs.replace
        kept = None if tokens is None else tuple(tokens)
        return replace(self, encoder=replace(self.encoder, kept_tokens=kept))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, the shape that ``from_json`` reads."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def config_from_name_or_path(value: str, *, num_classes: int = 7) -> ModelConfig:
    """Return the configuration that ``--model`` names: a size, or a path that ends in ``.json``."""
    if value.endswith(".json"):
        return ModelConfig.from_json(value)
    return ModelConfig.named(value, num_classes)


def image_size_from_text(text: str) -> tuple[int, int]:
    """Return (height, width) of a text such as ``512x384``.

    Raises:
        ConfigError: If it is no such text.
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.strip().lower())
    if match is None:
        raise ConfigError(f"an image size is HEIGHTxWIDTH in pixels, such as 512x384, not {text!r}")
    return int(match[1]), int(match[2])


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _check_positive(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _check(
            0 < value <= MAX_DIMENSION, f"{name} must be between 1 and {MAX_DIMENSION}, not {value}"
        )


def _check_blocks(name: str, config: EncoderConfig | DecoderConfig) -> None:
    width, heads = config.embed_dim, config.num_heads
    _check(config.depth <= MAX_DEPTH, f"depth must be at most {MAX_DEPTH}, not {config.depth}")
    _check(width % heads == 0, f"{name} embed_dim {width} is not divisible by {heads} heads")


def _attention_parameters(width: int) -> int:
    return 4 * width * (width + 1)


def _mlp_parameters(width: int, hidden: int) -> int:
    return 2 * width * hidden + hidden + width


def _sapiens(embed_dim: int, depth: int, num_heads: int) -> ModelConfig:
    return ModelConfig(
        encoder=EncoderConfig(embed_dim=embed_dim, depth=depth, num_heads=num_heads),
        decoder=DecoderConfig(),
    )


def _vit(embed_dim: int, num_heads: int) -> ModelConfig:
    return ModelConfig(
        encoder=EncoderConfig(
            embed_dim=embed_dim,
            depth=12,
            num_heads=num_heads,
            patch_padding=0,
            image_size=(256, 192),
        ),
        decoder=DecoderConfig(embed_dim=embed_dim, num_heads=num_heads, mlp_dim=2 * embed_dim),
    )


NAMED_SIZES: dict[str, ModelConfig] = {
    "tiny": ModelConfig(
        encoder=EncoderConfig(embed_dim=96, depth=4, num_heads=3, image_size=(128, 96)),
        decoder=DecoderConfig(embed_dim=64, num_heads=2, mlp_dim=128),
    ),
    "sapiens-0.3b": _sapiens(1024, 24, 16),
    "sapiens-0.6b": _sapiens(1280, 32, 16),
    "sapiens-1b": _sapiens(1536, 40, 24),
    "sapiens-2b": _sapiens(1920, 48, 32),
    "vit-ti": _vit(192, 3),
    "vit-s": _vit(384, 6),
    "vit-b": _vit(768, 12),
}
"""The published encoders with the published decoder, ``tiny`` for demonstrations and tests, and the
sizes of vision transformers that learn from a larger model (Touvron et al. 2021, arXiv 2012.12877).
"""
