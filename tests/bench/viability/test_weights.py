from __future__ import annotations

import pytest
import torch

from motivnet.checkpoints import save_model
from motivnet.checkpoints.key_maps import LAYOUTS, name_in_file
from motivnet.errors import CheckpointError, FileError
from motivnet.labels import labels_for
from motivnet.model import build_model
from motivnet_bench.viability.weights import compare_models, read_encoder

SAPIENS = next(layout for layout in LAYOUTS if layout.name == "sapiens")


def sapiens_keys(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A MotivNet's encoder as a Sapiens file names it, each tensor on its own."""
    return {
        name_in_file(name, SAPIENS): value.clone()
        for name, value in state.items()
        if name.startswith("encoder.")
    }


@pytest.fixture
def state(tiny_config):
    return {
        name: value.clone() for name, value in build_model(tiny_config, seed=1).state_dict().items()
    }


@pytest.fixture
def encoder(tmp_path, state):
    """The encoder that the model started from, in a file of Sapiens's keys."""
    path = tmp_path / "sapiens.pth"
    torch.save({"state_dict": sapiens_keys(state)}, path)
    return path


def test_an_untrained_model_has_all_of_its_encoder_bit_by_bit(state, encoder, tiny_config):
    found = compare_models(state, encoder)
    assert found.parameters == tiny_config.parameters
    assert found.common_parameters == tiny_config.encoder.parameters
    assert (found.bit_equal, found.relative_change) == (1.0, 0.0)
    assert {change.relative for change in found.changes} == {0.0}


def test_what_differs_is_the_head_alone(state, encoder):
    found = compare_models(state, encoder)
    heads = {name for name in state if name.startswith("decoder.")}
    assert {difference.name for difference in found.differences} == heads
    assert all(difference.encoder is None for difference in found.differences)


def test_modules_count_that_hold_weights_themselves(state, encoder, tiny_model):
    found = compare_models(state, encoder)
    holders = [
        name
        for name, module in tiny_model.named_modules()
        if list(module.parameters(recurse=False))
    ]
    assert found.modules == len(holders)
    assert found.common_modules == sum(name.startswith("encoder") for name in holders)


def test_a_module_with_one_weight_in_another_shape_is_not_common(state, encoder):
    before = compare_models(state, encoder)
    state["encoder.norm.weight"] = torch.ones(5)
    after = compare_models(state, encoder)
    assert after.common_modules == before.common_modules - 1
    assert after.common_parameters == before.common_parameters - 96


def test_a_weight_that_moved_is_found_with_its_relative_change(state, encoder):
    state["encoder.blocks.2.mlp.fc1.weight"] *= 1.5
    found = compare_models(state, encoder)
    largest = found.largest_changes()[0]
    assert largest.name == "encoder.blocks.2.mlp.fc1.weight"
    assert largest.relative == pytest.approx(0.5, rel=1e-5)
    moved = state["encoder.blocks.2.mlp.fc1.weight"].numel()
    assert found.bit_equal == pytest.approx(1 - moved / found.common_parameters)


def test_the_change_of_all_weights_is_that_of_one_vector(state, encoder):
    state = {name: 1.25 * value for name, value in state.items()}
    assert compare_models(state, encoder).relative_change == pytest.approx(0.25, rel=1e-6)


def test_a_weight_that_was_zero_has_no_relative_change_and_counts_as_the_largest(state, encoder):
    state["encoder.blocks.0.norm1.bias"] += 1e-9
    state["encoder.blocks.1.norm1.weight"] += 1.0
    largest = compare_models(state, encoder).largest_changes()[0]
    assert (largest.name, largest.relative) == ("encoder.blocks.0.norm1.bias", None)


def test_a_pretraining_encoder_differs_in_its_class_token_and_positions(
    state, tmp_path, tiny_config
):
    width = tiny_config.encoder.embed_dim
    keys = sapiens_keys(state) | {
        "cls_token": torch.zeros(1, 1, width),
        "pos_embed": torch.zeros(1, 50, width),
    }
    path = tmp_path / "pretraining.pth"
    torch.save(keys, path)
    found = compare_models(state, path)
    differences = {
        each.name: each for each in found.differences if each.name.startswith("encoder.")
    }
    assert set(differences) == {"encoder.class_token", "encoder.pos_embed"}
    assert differences["encoder.class_token"].motivnet is None
    assert differences["encoder.pos_embed"].motivnet == (1, 48, width)
    assert differences["encoder.pos_embed"].encoder == (1, 50, width)
    assert found.common_parameters == tiny_config.encoder.parameters - 48 * width


def test_an_encoder_of_another_width_has_nothing_in_common(state, tmp_path):
    path = tmp_path / "wide.pth"
    torch.save({"pos_embed": torch.zeros(1, 48, 8), "ln1.weight": torch.ones(8)}, path)
    found = compare_models(state, path)
    assert (found.common_parameters, found.common_modules) == (0, 0)
    assert (found.bit_equal, found.relative_change) == (None, None)
    assert found.largest_changes() == []


def test_the_head_in_a_file_of_ours_is_left_out(tiny_checkpoint, tiny_config):
    weights, layout = read_encoder(tiny_checkpoint)
    assert layout.name == "motivnet"
    assert sum(weight.numel() for weight in weights.values()) == tiny_config.encoder.parameters


def test_the_published_layout_is_an_encoder_too(state, tmp_path, tiny_config):
    path = tmp_path / "published.pth"
    published = next(layout for layout in LAYOUTS if layout.name == "published")
    names = [name for name in state if name.startswith("encoder.")]
    torch.save({name_in_file(name, published): state[name].clone() for name in names}, path)
    assert compare_models(state, path).common_parameters == tiny_config.encoder.parameters


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"weird": torch.zeros(2)}, "has keys of no known layout: weird"),
        ({"state_dict": {}}, "holds nothing in state_dict; save the weights again"),
        ({"decoder.decoder.query_embed.weight": torch.zeros(7, 4)}, "holds no Sapiens encoder"),
        ({"pos_embed": torch.full((1, 4, 8), float("nan"))}, "NaN or infinite"),
    ],
)
def test_a_file_without_an_encoder_is_named(state, tmp_path, content, said):
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=rf"other\.pth .*{said}"):
        compare_models(state, path)


def test_a_file_that_is_damaged_or_missing_is_named(state, tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(CheckpointError, match=r"cut\.safetensors is truncated or damaged"):
        compare_models(state, tmp_path / "cut.safetensors")
    with pytest.raises(FileError, match="does not exist"):
        compare_models(state, tmp_path / "none.pth")


def test_a_file_of_ours_is_compared_as_well(tmp_path, tiny_config, state):
    model = build_model(tiny_config, seed=1)
    path = tmp_path / "start.safetensors"
    save_model(model, path, config=tiny_config, labels=labels_for(7), preprocessing=None)
    assert compare_models(state, path).bit_equal == 1.0
