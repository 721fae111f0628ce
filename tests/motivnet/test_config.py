"""Configurations: the published sizes, their JSON, and what is nonsense."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from motivnet import schema
from motivnet.config import (
    NAMED_SIZES,
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    config_from_name_or_path,
)
from motivnet.errors import ConfigError, FileError
from motivnet.model import MLDecoder, SapiensEncoder, build_model

# Name: width, depth, heads, hidden units, parameters of the encoder in thousands of millions
# (Khirodkar et al. 2024).
PUBLISHED = {
    "sapiens-0.3b": (1024, 24, 16, 4096, 0.306),
    "sapiens-0.6b": (1280, 32, 16, 5120, 0.635),
    "sapiens-1b": (1536, 40, 24, 6144, 1.139),
    "sapiens-2b": (1920, 48, 32, 7680, 2.132),
}

PUBLISHED_COST = {(1024, 768): 9.28, (512, 384): 1.89, (384, 288): 1.03, (256, 192): 0.44}


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def on_no_device(config: ModelConfig) -> tuple[SapiensEncoder, MLDecoder]:
    """The networks as shapes alone, so that two thousand million parameters take no memory."""
    with torch.device("meta"):
        encoder = SapiensEncoder(**msgspec.structs.asdict(config.encoder))
        return encoder, MLDecoder(
            in_dim=config.encoder.embed_dim, **msgspec.structs.asdict(config.decoder)
        )


def test_the_named_sizes_are_the_published_ones_tiny_and_those_of_students() -> None:
    assert set(NAMED_SIZES) == {*PUBLISHED, "tiny", "vit-ti", "vit-s", "vit-b"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_named_size_has_the_published_numbers(name: str) -> None:
    encoder = ModelConfig.named(name).encoder
    width, depth, heads, hidden, billions = PUBLISHED[name]
    assert (encoder.embed_dim, encoder.depth, encoder.num_heads, encoder.mlp_dim) == (
        width,
        depth,
        heads,
        hidden,
    )
    assert (encoder.image_size, encoder.patch_size, encoder.patch_padding) == ((1024, 768), 16, 2)
    assert encoder.grid_size == (64, 48)
    assert round(encoder.parameters / 1e9, 3) == billions


UNEVEN = ModelConfig(
    encoder=EncoderConfig(
        embed_dim=10, depth=3, num_heads=5, mlp_ratio=2.75, patch_size=8, image_size=(24, 16)
    ),
    decoder=DecoderConfig(
        embed_dim=6, num_heads=3, depth=1, mlp_dim=7, num_groups=4, num_classes=9
    ),
)


@pytest.mark.parametrize("config", [*NAMED_SIZES.values(), UNEVEN], ids=[*NAMED_SIZES, "uneven"])
def test_the_counted_parameters_are_those_of_the_network(config: ModelConfig) -> None:
    encoder, decoder = on_no_device(config)
    assert config.encoder.parameters == count(encoder)
    assert config.decoder.parameters(config.encoder.embed_dim) == count(decoder)
    assert config.parameters == count(encoder) + count(decoder)


@pytest.mark.parametrize("num_classes", [1, 7, 8, 100, 1000])
def test_a_named_size_takes_any_number_of_classes(num_classes: int) -> None:
    decoder = ModelConfig.named("tiny", num_classes).decoder
    assert (decoder.num_groups, decoder.num_classes) == (num_classes, num_classes)


def test_a_head_may_have_fewer_groups_than_classes() -> None:
    assert DecoderConfig(num_groups=100, num_classes=1000).num_groups == 100


def test_a_named_size_takes_another_image_size() -> None:
    assert ModelConfig.named("sapiens-1b", image_size=(512, 384)).encoder.grid_size == (32, 24)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError,
        match=r"no model is called 'huge'; choose one of tiny, sapiens-0.3b, .* or a \.json",
    ):
        ModelConfig.named("huge")


@pytest.mark.parametrize("config", [*NAMED_SIZES.values(), UNEVEN], ids=[*NAMED_SIZES, "uneven"])
def test_a_configuration_survives_its_json(config: ModelConfig, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(schema.encode(config.to_dict()))
    assert ModelConfig.from_json(path) == config == config_from_name_or_path(str(path))
    assert set(json.loads(path.read_text())["encoder"]) == {
        "embed_dim",
        "depth",
        "num_heads",
        "mlp_ratio",
        "patch_size",
        "patch_padding",
        "image_size",
        "kept_tokens",
    }


def test_flop_are_those_that_pytorch_counts() -> None:
    for config in (UNEVEN, UNEVEN.keeping([0, 2, 5]), ModelConfig.named("vit-ti")):
        model = build_model(config)
        # The fused attention of a CPU is not counted, and no elementwise product ever.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 3, *config.encoder.image_size))
        assert config.flop == pytest.approx(counter.get_total_flops(), rel=0.004)


@pytest.mark.parametrize(("size", "teraflop"), PUBLISHED_COST.items())
def test_flop_of_sapiens_1b(size: tuple[int, int], teraflop: float) -> None:
    encoder = ModelConfig.named("sapiens-1b", image_size=size).encoder
    assert round(encoder.flop / 1e12, 2) == teraflop


@pytest.mark.parametrize("kept", [[], [-1, 2], [2, 1], [1, 1], range(6), [0, 6]])
def test_kept_tokens_are_some_of_the_positions_in_order(kept: Sequence[int]) -> None:
    with pytest.raises(ConfigError, match=r"in order, of the positions 0 to 5 of 24x16 pixels"):
        UNEVEN.keeping(kept)


def test_a_model_of_some_tokens_takes_no_other_image_size() -> None:
    kept = UNEVEN.keeping([1, 4])
    assert kept.encoder.tokens == 2
    assert kept.at((24, 16)) == kept
    with pytest.raises(ConfigError, match=r"keeps 2 of the tokens of 24x16 pixels, .* take 32x16"):
        kept.at((32, 16))


def test_a_name_is_a_name_and_not_a_path() -> None:
    assert config_from_name_or_path("tiny", num_classes=8) == ModelConfig.named("tiny", 8)


@pytest.mark.parametrize(
    ("part", "field", "value", "reason"),
    [
        ("encoder", "embed_dim", 0, "embed_dim must be between 1 and 65536, not 0"),
        ("encoder", "embed_dim", -96, "embed_dim must be between 1 and 65536, not -96"),
        ("encoder", "embed_dim", 96.0, "encoder.embed_dim: Expected `int`, got `float`"),
        ("encoder", "embed_dim", True, "encoder.embed_dim: Expected `int`, got `bool`"),
        ("encoder", "embed_dim", "96", "encoder.embed_dim: Expected `int`, got `str`"),
        ("encoder", "embed_dim", 2**62, "embed_dim must be between 1 and 65536"),
        ("encoder", "num_heads", 5, "encoder embed_dim 96 is not divisible by 5 heads"),
        ("encoder", "num_heads", 0, "num_heads must be between 1 and 65536, not 0"),
        ("encoder", "depth", 0, "depth must be between 1 and 65536, not 0"),
        ("encoder", "depth", 1025, "depth must be at most 1024, not 1025"),
        ("encoder", "mlp_ratio", 0, "mlp_ratio must be between 1 and 65536, not 0"),
        ("encoder", "mlp_ratio", 0.01, "mlp_ratio 0.01 leaves the MLP without a hidden unit"),
        ("encoder", "patch_size", 0, "patch_size must be between 1 and 65536, not 0"),
        ("encoder", "patch_padding", -1, "patch_padding -1 must be at least 0"),
        (
            "encoder",
            "patch_padding",
            16,
            "patch_padding 16 must be at least 0 and below patch_size 16",
        ),
        ("encoder", "image_size", [128], "encoder.image_size: Expected `array` of length 2"),
        (
            "encoder",
            "image_size",
            [128, 100],
            "image_size [128, 100] must be multiples of the patch size 16",
        ),
        ("encoder", "image_size", [0, 96], "image_size [0, 96] must be multiples"),
        ("encoder", "image_size", [-16, 96], "image_size [-16, 96] must be multiples"),
        ("encoder", "image_size", [1 << 20, 96], "must be multiples of the patch size"),
        (
            "encoder",
            "image_size",
            [65_536, 65_536],
            "must be multiples of the patch size 16, at most 4096",
        ),
        (
            "encoder",
            "image_size",
            [4_096, 4_096],
            "gives 65,536 tokens, too many for the attention of 3 heads",
        ),
        ("encoder", "image_size", None, "encoder.image_size: Expected `array`, got `null`"),
        ("encoder", "image_sise", [128, 96], "encoder: Object contains unknown field `image_sise`"),
        ("decoder", "num_heads", 3, "decoder embed_dim 64 is not divisible by 3 heads"),
        ("decoder", "num_groups", 8, "num_groups 8 must not exceed num_classes 7"),
        ("decoder", "num_classes", 0, "num_classes must be between 1 and 65536, not 0"),
        ("decoder", "mlp_dim", -1, "mlp_dim must be between 1 and 65536, not -1"),
        ("decoder", "depth", 5000, "depth must be at most 1024, not 5000"),
    ],
)
def test_nonsense_in_a_file_is_named_with_the_file(
    part: str, field: str, value: Any, reason: str, tmp_path: Path
) -> None:
    document = ModelConfig.named("tiny").to_dict()
    document[part][field] = value
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError) as raised:
        ModelConfig.from_json(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    "change",
    [
        {"embed_dim": 65_536, "num_heads": 64, "depth": 1_024},
        {"mlp_ratio": 60_000.0, "depth": 1_000},
    ],
)
def test_a_model_beyond_all_memory_is_refused_before_it_is_built(change: Any) -> None:
    encoder = msgspec.structs.replace(ModelConfig.named("sapiens-1b").encoder, **change)
    with pytest.raises(ConfigError, match="parameters is beyond the 20,000,000,000 allowed"):
        ModelConfig(encoder=encoder, decoder=DecoderConfig())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"[]", "not a model configuration: Expected `object`, got `array`"),
        (b"{}", "Object missing required field `encoder`"),
        (b'{"encoder": {}, "encoder": {}}', "key 'encoder' appears twice"),
        (b"\xff", "not JSON"),
    ],
)
def test_a_file_that_is_no_configuration_says_why(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as raised:
        ModelConfig.from_json(path)
    assert str(path) in str(raised.value)
    assert reason in str(raised.value)


def test_a_missing_or_too_large_file_is_a_file_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        ModelConfig.from_json(tmp_path / "none.json")
    (tmp_path / "large.json").write_bytes(b" " * (schema.MAX_BYTES + 1))
    with pytest.raises(FileError, match="more than the 1,000,000 allowed"):
        ModelConfig.from_json(tmp_path / "large.json")


def test_a_configuration_is_a_value() -> None:
    config = ModelConfig.named("tiny")
    assert {config: 1}[ModelConfig.named("tiny")] == 1
    with pytest.raises(AttributeError, match="immutable"):
        config.encoder = config.encoder  # type: ignore[misc]
