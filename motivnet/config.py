"""The sizes of a MotivNet as plain numbers, with the published ones by name."""

from __future__ import annotations

import re
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
    patch_size``.
    """

    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: float = 4.0
    patch_size: int = 16
    patch_padding: int = 2
    image_size: tuple[int, int] = (1024, 768)

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

    @classmethod
    def named(
        cls, name: str, num_classes: int = 7, *, image_size: tuple[int, int] | None = None
    ) -> ModelConfig:
        """Return the configuration of ``tiny`` or a published encoder, such as ``sapiens-1b``.

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
            ConfigError: If the sides are no multiples of the patch size, or the image is too large.
        """
        replace = msgspec.structs.replace
        return replace(self, encoder=replace(self.encoder, image_size=image_size))

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


NAMED_SIZES: dict[str, ModelConfig] = {
    "tiny": ModelConfig(
        encoder=EncoderConfig(embed_dim=96, depth=4, num_heads=3, image_size=(128, 96)),
        decoder=DecoderConfig(embed_dim=64, num_heads=2, mlp_dim=128),
    ),
    "sapiens-0.3b": _sapiens(1024, 24, 16),
    "sapiens-0.6b": _sapiens(1280, 32, 16),
    "sapiens-1b": _sapiens(1536, 40, 24),
    "sapiens-2b": _sapiens(1920, 48, 32),
}
"""The published encoders with the published decoder, and ``tiny`` for demonstrations and tests."""
