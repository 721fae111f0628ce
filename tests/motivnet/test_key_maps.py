"""The tables of names: what they recognise, and that they lead back to where they came from."""

from __future__ import annotations

import pytest
import torch

from motivnet.checkpoints import key_maps
from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.model import build_model

CONFIG = ModelConfig(
    encoder=EncoderConfig(
        embed_dim=8, depth=1, num_heads=2, patch_size=4, image_size=(8, 4), patch_padding=1
    ),
    decoder=DecoderConfig(embed_dim=8, num_heads=2, depth=1, mlp_dim=8),
)


@pytest.mark.parametrize(
    ("key", "layout"),
    [
        ("encoder.pos_embed", "motivnet"),
        ("model.encoder.pos_embed", "motivnet"),
        ("model._orig_mod.decoder.blocks.3.attention.key_value.bias", "motivnet"),
        ("pose_encoder.projection.weight", "published"),
        ("module.decoder.decoder.layers.1.linear2.bias", "published"),
        ("decoder.decoder.layers.0.multihead_attn.in_proj_weight", "published"),
        ("layers.11.ffn.layers.0.0.weight", "sapiens"),
        ("cls_token", "sapiens"),
        ("backbone.ln1.bias", "sapiens-backbone"),
    ],
)
def test_a_layout_is_recognised_by_its_keys(key: str, layout: str) -> None:
    found = key_maps.group_keys([key, "something_else"])[0]
    assert found.layout.name == layout
    assert list(found.matched) == [key]


@pytest.mark.parametrize(
    "key",
    ["", "conv1.weight", "encoder.blocks.0", "layers.1e3.attn.proj.weight", "layers.0.ln1.gamma"],
)
def test_a_key_of_no_layout_is_not_guessed(key: str) -> None:
    assert key_maps.group_keys([key]) == []


def test_the_published_names_lead_back_to_every_weight() -> None:
    state = build_model(CONFIG, seed=1).state_dict()
    published = key_maps.published_from_model(state)
    group = key_maps.group_keys(published)[0]
    back = {
        name: part
        for key, names in group.matched.items()
        for name, part in key_maps.split_packed(published[key], names).items()
    }
    assert group.is_whole
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_the_packed_projection_is_query_then_key_and_value() -> None:
    state = build_model(CONFIG, seed=1).state_dict()
    packed = key_maps.published_from_model(state)[
        "decoder.decoder.layers.0.self_attn.in_proj_weight"
    ]
    assert torch.equal(packed[:8], state["decoder.blocks.0.attention.query.weight"])
    assert torch.equal(packed[8:], state["decoder.blocks.0.attention.key_value.weight"])


def test_a_name_that_is_no_weight_of_a_motivnet_has_no_published_one() -> None:
    with pytest.raises(KeyError, match=r"encoder\.extra"):
        key_maps.published_from_model({"encoder.extra": torch.zeros(1)})


def test_heads_and_the_pretraining_decoder_are_no_part_of_the_model() -> None:
    keys = [
        "backbone.pos_embed",
        "head.final_layer.weight",
        "neck.decoder_blocks.0.ln1.weight",
        "neck.mask_token",
    ]
    group = key_maps.group_keys(keys)[0]
    assert group.matched == {"backbone.pos_embed": ("encoder.pos_embed",)}
    assert [key for key in keys if group.is_ignored(key)] == keys[1:]


def test_a_second_key_for_the_same_weight_is_known_as_such() -> None:
    keys = ["encoder.pos_embed", "encoder._orig_mod.pos_embed"]
    group = key_maps.group_keys(keys)[0]
    assert list(group.matched) == keys[:1]
    assert group.repeated == {keys[1]: keys[0]}


@pytest.mark.parametrize("missing", ["encoder.pos_embed", "decoder.blocks.0.fc1.bias"])
def test_a_model_without_one_weight_is_not_whole(missing: str) -> None:
    keys = build_model(CONFIG, seed=1).state_dict().keys()
    assert key_maps.group_keys(keys)[0].is_whole
    assert not key_maps.group_keys(keys - {missing})[0].is_whole


def test_models_in_one_state_dict_are_groups_by_their_prefix() -> None:
    keys = ["a.encoder.pos_embed", "b.c.encoder.pos_embed", "a.encoder.norm.weight"]
    groups = key_maps.group_keys(keys)
    assert [group.prefix for group in groups if group.layout.name == "motivnet"] == ["a.", "b.c."]
