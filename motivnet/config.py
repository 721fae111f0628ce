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


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """A Sapiens v1 encoder (Khirodkar et al. 2024, arXiv 2408.12569).

    ``image_size`` is (height, width) in pixels; ``patch_padding`` pixels of zeros surround the image before
    it is cut into patches, which keeps the number of patches at ``image_size // patch_size``.
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
        _require(0 <= self.patch_padding < self.patch_size, "patch_padding must be at least 0 and below patch_size")
        _require(
            self.embed_dim % self.num_heads == 0,
            f"encoder embed_dim {self.embed_dim} is not divisible by {self.num_heads} heads",
        )
        for side in self.image_size:
            _require(
                self.patch_size <= side <= MAX_DIMENSION and side % self.patch_size == 0,
                f"image_size {list(self.image_size)} must be multiples of the patch size {self.patch_size}",
            )

    @property
    def grid_size(self) -> tuple[int, int]:
        """Patches as (rows, columns)."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size


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
        _require_positive(self, "embed_dim", "num_heads", "depth", "mlp_dim", "num_groups", "num_classes")
        _require(
            self.embed_dim % self.num_heads == 0,
            f"decoder embed_dim {self.embed_dim} is not divisible by {self.num_heads} heads",
        )
        _require(
            self.num_groups <= self.num_classes,
            f"num_groups {self.num_groups} must not exceed num_classes {self.num_classes}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Encoder and decoder of one MotivNet."""

    encoder: EncoderConfig
    decoder: DecoderConfig

    @classmethod
    def named(cls, name: str, num_classes: int = 7, *, image_size: tuple[int, int] | None = None) -> ModelConfig:
        """The configuration of a named size: ``tiny`` or a published Sapiens (``sapiens-0.3b`` … ``sapiens-2b``).

        Args:
            num_classes: Outputs; one query group per class.
            image_size: (height, width) in pixels, where it differs from the named size's.

        Raises:
            ConfigError: If there is no size of that name.
        """
        if name not in NAMED_SIZES:
            raise ConfigError(f"no model is called {name!r}; the named sizes are {', '.join(NAMED_SIZES)}")
        base = NAMED_SIZES[name]
        encoder = dataclasses.replace(base.encoder, image_size=image_size or base.encoder.image_size)
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
            return cls.from_dict(strict_json.loads(read_bytes(path, max_bytes=strict_json.MAX_BYTES)))
        except strict_json.StrictJSONError as error:
            raise ConfigError(f"{path}: {error}") from error
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the shape that ``from_json`` reads."""
        return dataclasses.asdict(self)


def config_from_name_or_path(value: str, *, num_classes: int = 7) -> ModelConfig:
    """The configuration that ``--model`` names: a named size, or a path that ends in ``.json``."""
    if value.endswith(".json"):
        return ModelConfig.from_json(value)
    return ModelConfig.named(value, num_classes)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _require_positive(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _require(0 < value <= MAX_DIMENSION, f"{name} must be between 1 and {MAX_DIMENSION}, not {value}")


def _sapiens(embed_dim: int, depth: int, num_heads: int) -> ModelConfig:
    return ModelConfig(
        encoder=EncoderConfig(embed_dim=embed_dim, depth=depth, num_heads=num_heads), decoder=DecoderConfig()
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
