"""The network: its numbers against the published code's, its shapes, and its parameters."""

from __future__ import annotations

import copy
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from motivnet.checkpoints import key_maps, load_model
from motivnet.config import NAMED_SIZES, DecoderConfig, EncoderConfig, ModelConfig
from motivnet.model import MLDecoder, MotivNet, SapiensEncoder, build_model
from motivnet.model.ml_decoder import CrossAttention
from motivnet.model.sapiens import SelfAttention

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
GOLDEN_CONFIG = ModelConfig(
    encoder=EncoderConfig(embed_dim=32, depth=2, num_heads=4, image_size=(64, 48)),
    decoder=DecoderConfig(embed_dim=16, num_heads=8),
)
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def golden_model() -> MotivNet:
    return load_model(GOLDEN / "motivnet_flat.pth", GOLDEN_CONFIG)


@pytest.fixture(scope="module")
def motivnet_io() -> dict[str, torch.Tensor]:
    return _tensors("motivnet_io.npz")


def test_features_are_those_of_the_published_code(
    golden_model: MotivNet, motivnet_io: dict[str, torch.Tensor]
) -> None:
    with torch.inference_mode():
        features = golden_model.encoder(motivnet_io["image"])
    assert (features - motivnet_io["features"]).abs().max() < TOLERANCE


def test_logits_and_probabilities_are_those_of_the_published_code(
    golden_model: MotivNet, motivnet_io: dict[str, torch.Tensor]
) -> None:
    with torch.inference_mode():
        logits = golden_model(motivnet_io["image"])
    assert (logits - motivnet_io["logits"]).abs().max() < TOLERANCE
    assert (logits.softmax(1) - motivnet_io["probabilities"]).abs().max() < TOLERANCE


def test_logits_with_the_scale_of_attention_in_the_weights_are_the_published_ones(
    golden_model: MotivNet, motivnet_io: dict[str, torch.Tensor]
) -> None:
    model = copy.deepcopy(golden_model)
    for module in model.modules():
        if isinstance(module, (SelfAttention, CrossAttention)):
            module.fold_scale()
    with torch.inference_mode():
        logits = model(motivnet_io["image"])
    assert (logits - motivnet_io["logits"]).abs().max() < TOLERANCE


def test_an_encoder_with_a_class_token_gives_the_pretraining_feature_map() -> None:
    stored = torch.load(GOLDEN / "sapiens_pretrain_clean.pth", weights_only=True)
    names = key_maps.group_keys(stored)[0].matched
    assert names.keys() == stored.keys()
    encoder = SapiensEncoder(
        embed_dim=32,
        depth=2,
        num_heads=4,
        mlp_ratio=4.0,
        patch_size=16,
        patch_padding=0,
        image_size=(64, 64),
        class_token=True,
    )
    encoder.load_state_dict(
        {names[key][0].removeprefix("encoder."): tensor for key, tensor in stored.items()}
    )
    golden = _tensors("sapiens_io.npz")
    with torch.inference_mode():
        features = encoder.eval()(golden["square"])
    assert (features - golden["pretrain_featmap"]).abs().max() < TOLERANCE


def test_a_keypoint_encoder_gives_its_published_feature_map() -> None:
    golden = _tensors("sapiens_io.npz")
    model = load_model(GOLDEN / "sapiens_pose_mmengine.pth", GOLDEN_CONFIG)
    with torch.inference_mode():
        features = model.encoder(golden["image"])
    assert (features - golden["pose_featmap"]).abs().max() < TOLERANCE


def test_the_embedding_is_the_mean_of_the_feature_map(tiny_model: MotivNet) -> None:
    image = torch.randn(2, 3, 128, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits, embedding = tiny_model.logits_and_embedding(image)
        torch.testing.assert_close(embedding, tiny_model.encoder(image).mean(dim=(2, 3)))
        torch.testing.assert_close(logits, tiny_model(image))


def test_an_image_has_the_same_logits_alone_and_in_a_batch(tiny_model: MotivNet) -> None:
    images = torch.randn(3, 3, 128, 96, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        together = tiny_model(images)
        alone = torch.cat([tiny_model(image[None]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_the_seed_decides_the_weights(tiny_config: ModelConfig) -> None:
    first, again, other = (
        build_model(tiny_config, seed=seed).decoder.queries for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("classes", "groups"), [(7, 7), (8, 8), (5, 2), (100, 13), (1, 1)])
def test_the_head_gives_one_logit_a_class(classes: int, groups: int) -> None:
    config = ModelConfig.named("tiny")
    decoder = msgspec.structs.replace(config.decoder, num_classes=classes, num_groups=groups)
    model = build_model(msgspec.structs.replace(config, decoder=decoder))
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 128, 96)).shape == (2, classes)


def test_a_group_answers_for_consecutive_classes() -> None:
    head = MLDecoder(
        in_dim=4, embed_dim=4, num_heads=2, depth=1, mlp_dim=4, num_groups=2, num_classes=3
    )
    with torch.inference_mode():
        for parameter in head.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(5))
        before = head(torch.ones(1, 5, 4))
        head.group_weight[1] += 1.0
        changed = (head(torch.ones(1, 5, 4)) != before)[0]
    assert changed.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("sapiens-0.3b", 0.306),
        ("sapiens-0.6b", 0.635),
        ("sapiens-1b", 1.139),
        ("sapiens-2b", 2.132),
    ],
)
def test_named_encoders_have_the_published_number_of_parameters(name: str, billions: float) -> None:
    with torch.device("meta"):
        encoder = SapiensEncoder(**msgspec.structs.asdict(NAMED_SIZES[name].encoder))
    assert sum(parameter.numel() for parameter in encoder.parameters()) / 1e9 == pytest.approx(
        billions, abs=1e-3
    )


def _tensors(name: str) -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / name) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays}
