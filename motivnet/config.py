"""The sizes of a MotivNet as plain numbers, with the published ones by name."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motivnet import strict_json
from motivnet.errors import ConfigError
from motivnet.files import read_bytes

MAX_DIMENSION = 65_536
MAX_SIDE = 4_096
"""Of an image in pixels; the published models take 1024x768."""

MAX_TOKENS = 65_536
"""Patches of an image; the published models have 3,072."""

MAX_SCORES = 1 << 31
"""Of one attention over one image; the largest published model has 302 million."""

MAX_DEPTH = 1_024
MAX_PARAMETERS = 20_000_000_000
"""Ten times the largest published model; a file that asks for more is damaged or hostile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """A Sapiens v1 encoder (Khirodkar et al. 2024, arXiv 2408.12569).

    ``image_size`` is (height, width) in pixels; ``patch_padding`` pixels of zeros surround the
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
        _require_positive(self, "embed_dim", "depth", "num_heads", "mlp_ratio", "patch_size")
        _require_depth(self.depth)
        _require(
            0 <= self.patch_padding < self.patch_size,
            f"patch_padding {self.patch_padding} must be at least 0 and below patch_size {self.patch_size}",
        )
        _require(
            self.mlp_dim >= 1, f"mlp_ratio {self.mlp_ratio} leaves the MLP without a hidden unit"
        )
        _require(
            self.embed_dim % self.num_heads == 0,
            f"encoder embed_dim {self.embed_dim} is not divisible by {self.num_heads} heads",
        )
        for side in self.image_size:
            _require(
                self.patch_size <= side <= MAX_SIDE and side % self.patch_size == 0,
                f"image_size {list(self.image_size)} must be multiples of the patch size {self.patch_size}, "
                f"at most {MAX_SIDE}",
            )
        tokens = self.grid_size[0] * self.grid_size[1]
        _require(
            tokens <= MAX_TOKENS and self.num_heads * tokens**2 <= MAX_SCORES,
            f"image_size {list(self.image_size)} in patches of {self.patch_size} gives {tokens:,} tokens, too many for "
            f"the attention of {self.num_heads} heads",
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
        attention = 4 * width * (width + 1)
        mlp = 2 * width * self.mlp_dim + self.mlp_dim + width
        norm = 2 * width
        return patches + self.depth * (attention + mlp + 2 * norm) + norm


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """An ML-Decoder head (Ridnik et al. 2021, arXiv 2111.12933): ``num_groups`` queries for ``num_classes`` classes."""

    embed_dim: int = 1152
    num_heads: int = 8
    depth: int = 2
    mlp_dim: int = 2048
    num_groups: int = 7
    num_classes: int = 7

    def __post_init__(self) -> None:
        _require_positive(
            self, "embed_dim", "num_heads", "depth", "mlp_dim", "num_groups", "num_classes"
        )
        _require_depth(self.depth)
        _require(
            self.embed_dim % self.num_heads == 0,
            f"decoder embed_dim {self.embed_dim} is not divisible by {self.num_heads} heads",
        )
        _require(
            self.num_groups <= self.num_classes,
            f"num_groups {self.num_groups} must not exceed num_classes {self.num_classes}",
        )

    def parameters(self, in_dim: int) -> int:
        """Trainable numbers of the head on tokens of ``in_dim``, counted without building it."""
        width, per_group = self.embed_dim, -(-self.num_classes // self.num_groups)
        attention = 4 * width * (width + 1)
        mlp = 2 * width * self.mlp_dim + self.mlp_dim + width
        norms = 3 * 2 * width
        group_output = self.num_groups * width * per_group + self.num_classes
        return (
            width * (in_dim + 1)
            + self.num_groups * width
            + self.depth * (attention + mlp + norms)
            + group_output
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Encoder and decoder of one MotivNet."""

    encoder: EncoderConfig
    decoder: DecoderConfig

    def __post_init__(self) -> None:
        _require(
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
        """The configuration of a named size: ``tiny`` or a published Sapiens (``sapiens-0.3b`` …
        ``sapiens-2b``).

        Args:
            num_classes: Outputs; one query group per class.
            image_size: (height, width) in pixels, where it differs from the named size's.

        Raises:
            ConfigError: If there is no size of that name.
        """
        if name not in NAMED_SIZES:
            raise ConfigError(
                f"no model is called {name!r}; choose one of {', '.join(NAMED_SIZES)}, or a .json file"
            )
        base = NAMED_SIZES[name]
        encoder = dataclasses.replace(
            base.encoder, image_size=image_size or base.encoder.image_size
        )
        decoder = dataclasses.replace(base.decoder, num_groups=num_classes, num_classes=num_classes)
        return cls(encoder=encoder, decoder=decoder)

    @classmethod
    def from_dict(cls, value: Any) -> ModelConfig:
        """The configuration that ``to_dict`` gave.

        Raises:
            ConfigError: Naming the key that is unknown, missing or of the wrong type.
        """
        try:
            return strict_json.build(cls, value)
        except strict_json.StrictJSONError as error:
            raise ConfigError(f"not a model configuration: {error}") from error

    @classmethod
    def from_json(cls, path: Path | str) -> ModelConfig:
        """The configuration in a JSON file ``{"encoder": {…}, "decoder": {…}}``.

        Raises:
            ConfigError: If the file is not strict JSON or not a configuration.
            FileError: If it cannot be read.
        """
        path = Path(path)
        try:
            return cls.from_dict(
                strict_json.loads(read_bytes(path, max_bytes=strict_json.MAX_BYTES))
            )
        except (strict_json.StrictJSONError, ConfigError) as error:
            raise ConfigError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the shape that ``from_json`` reads."""
        return dataclasses.asdict(self)


def config_from_name_or_path(value: str, *, num_classes: int = 7) -> ModelConfig:
    """The configuration that ``--model`` names: a named size with ``num_classes``, or a path that ends in ``.json``."""
    if value.endswith(".json"):
        return ModelConfig.from_json(value)
    return ModelConfig.named(value, num_classes)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _require_depth(depth: int) -> None:
    _require(depth <= MAX_DEPTH, f"depth must be at most {MAX_DEPTH}, not {depth}")


def _require_positive(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _require(
            0 < value <= MAX_DIMENSION, f"{name} must be between 1 and {MAX_DIMENSION}, not {value}"
        )


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
