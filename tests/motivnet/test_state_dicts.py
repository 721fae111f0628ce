"""Weights are found wherever a training framework keeps them, and nothing is taken on a guess."""

from __future__ import annotations

import collections
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from motivnet.checkpoints import key_maps, load_checkpoint
from motivnet.checkpoints.inert_pickle import values_from_pickle
from motivnet.checkpoints.state_dicts import find_state_dict
from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.errors import CheckpointError
from motivnet.model import build_model

CONFIG = ModelConfig(
    encoder=EncoderConfig(embed_dim=8, depth=1, num_heads=2, patch_size=4, image_size=(8, 4)),
    decoder=DecoderConfig(embed_dim=8, num_heads=2, depth=1, mlp_dim=8),
)
State = dict[str, Tensor]
ONE = torch.ones(1)


def published(seed: int = 1) -> State:
    return dict(key_maps.published_from_model(build_model(CONFIG, seed=seed).state_dict()))


def sapiens(seed: int = 1) -> State:
    rows = next(layout for layout in key_maps.LAYOUTS if layout.name == "sapiens")
    state = build_model(CONFIG, seed=seed).encoder.state_dict()
    return {key_maps.name_in_file(f"encoder.{name}", rows): value for name, value in state.items()}


PUBLISHED, AVERAGED = published(), published(2)
ENCODER, AVERAGED_ENCODER = sapiens(), sapiens(2)


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def wrapped(at: str, wrapper: str, state: State = PUBLISHED) -> State:
    """The names after a framework has wrapped the module called ``at``."""
    return {key.replace(f"{at}.", f"{at}.{wrapper}.", 1): value for key, value in state.items()}


def is_model(path: Path, seed: int, **options: Any) -> bool:
    """Return whether a file loads as the model of a seed, or as its encoder."""
    checkpoint = load_checkpoint(path, CONFIG, **options)
    part = "encoder." if checkpoint.fresh_head else ""
    wanted, found = build_model(CONFIG, seed=seed).state_dict(), checkpoint.model.state_dict()
    return all(torch.equal(found[name], wanted[name]) for name in found if name.startswith(part))


class _Module(nn.Module):
    """A module whose state dict is the published one."""

    def __init__(self, state: State) -> None:
        super().__init__()
        for key, value in state.items():
            *path, last = key.split(".")
            inner: nn.Module = self
            for part in path:
                if part not in inner._modules:
                    inner.add_module(part, nn.Module())
                inner = inner.get_submodule(part)
            inner.register_parameter(last, nn.Parameter(value.clone()))


class _AttributeDict(dict[str, object]):
    """As Lightning and mmengine subclass a dictionary."""


FLAT: dict[str, State] = {
    "DistributedDataParallel": prefixed("module.", PUBLISHED),
    "Lightning": prefixed("model.", PUBLISHED),
    "Lightning in another framework": prefixed("network.module.model.", PUBLISHED),
    "any attribute": prefixed("net.", PUBLISHED),
    "compiled": prefixed("_orig_mod.", PUBLISHED),
    "compiled encoder": wrapped("pose_encoder", "_orig_mod"),
    "compiled block": wrapped("layers.0", "_orig_mod"),
    "DistributedDataParallel of the encoder": wrapped("pose_encoder", "module"),
    "FSDP and activation checkpointing": prefixed(
        "_fsdp_wrapped_module.",
        wrapped("layers.0", "_fsdp_wrapped_module._checkpoint_wrapped_module"),
    ),
    "FSDP of older versions": prefixed("_fsdp_wrapped_module._fpw_module.", PUBLISHED),
    "Opacus": prefixed("_module.", PUBLISHED),
    "AveragedModel": prefixed("module.", PUBLISHED) | {"n_averaged": torch.tensor(3)},
    "mmengine": prefixed("backbone.", ENCODER),
    "mmengine in Lightning": prefixed("model.backbone.", ENCODER),
    "encoder": prefixed("encoder.", ENCODER),
}
NESTED: dict[str, Callable[[], object]] = {
    **{
        name: lambda name=name: {name: PUBLISHED, "epoch": 3, "optimizer": {"state": {}}}
        for name in ("state_dict", "model_state_dict", "model", "net", "weights", "module")
    },
    "three deep": lambda: {"checkpoint": {"model": {"state_dict": PUBLISHED}}},
    "twice the same": lambda: {"model": PUBLISHED, "best": PUBLISHED},
    "equal copies": lambda: {
        "model": PUBLISHED,
        "best": {name: value.clone() for name, value in PUBLISHED.items()},
    },
    "subclass of dict": lambda: {"state_dict": _AttributeDict(PUBLISHED)},
    "defaultdict": lambda: collections.defaultdict(dict, {"state_dict": PUBLISHED}),
    "state dict of DataParallel": lambda: nn.DataParallel(_Module(PUBLISHED)).state_dict(),
    "state dict of AveragedModel": lambda: AveragedModel(_Module(PUBLISHED)).state_dict(),
    "module": lambda: _Module(PUBLISHED),
    "module in DataParallel": lambda: nn.DataParallel(_Module(PUBLISHED)),
    "module in a dictionary": lambda: {"model": _Module(PUBLISHED), "ema": None},
}


@pytest.mark.parametrize("name", FLAT)
def test_what_a_framework_adds_to_the_names_comes_off_anywhere(name: str, tmp_path: Path) -> None:
    torch.save({"state_dict": FLAT[name]}, tmp_path / "w.pth")
    assert is_model(tmp_path / "w.pth", seed=1)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", NESTED)
def test_weights_are_found_in_whatever_holds_them(name: str, legacy: bool, tmp_path: Path) -> None:
    torch.save(NESTED[name](), tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    assert is_model(tmp_path / "w.pth", seed=1)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"criterion.weight": ONE}, "criterion.weight"),
        (
            {"val_accuracy.tp": torch.tensor(3), "val_accuracy.confmat": torch.ones(7, 7)},
            "val_accuracy.tp, val_accuracy.confmat",
        ),
        ({"bn.num_batches_tracked": torch.tensor(3)}, "bn.num_batches_tracked"),
        (
            {"pose_encoder.layers.0.total_ops": ONE, "total_ops": ONE},
            "pose_encoder.layers.0.total_ops, total_ops",
        ),
        ({"optimizer": {"state": {0: {"exp_avg": ONE}}}, "epoch": 3}, "optimizer, epoch"),
        ({f"extra.{i}": ONE for i in range(30)}, "extra.7 and 22 more"),
    ],
)
def test_what_is_left_over_is_named_in_one_warning(
    more: dict[str, object], named: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(PUBLISHED | more, tmp_path / "w.pth")
    assert is_model(tmp_path / "w.pth", seed=1)
    left = [each.getMessage() for each in caplog.records if "left out: " in each.getMessage()]
    assert len(left) == 1
    assert "holds more than the weights of a model, left out: " in left[0]
    assert left[0].endswith(named)


@pytest.mark.parametrize(
    "key",
    [
        "pose_encoder.layers.0.attn.lora_A.weight",
        "pose_encoder._orig_mod.layers.0.gamma",
        "decoder.decoder.layers.0.norm4.weight",
        "pose_encoder.layers.7.ln1.weight",
    ],
)
def test_weights_that_would_change_the_model_are_not_left_over(key: str, tmp_path: Path) -> None:
    torch.save(PUBLISHED | {key: ONE}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=rf"unknown: {key}|encoder\.depth is 8 and not 1"):
        load_checkpoint(tmp_path / "w.pth", CONFIG)


class _HistoryBuffer:
    """As mmengine keeps its figures."""


META = {"mmengine_version": "0.10.4", "epoch": 9}
BESIDE: dict[str, tuple[dict[str, object], int, int, str]] = {
    "timm": (
        {"state_dict": PUBLISHED, "state_dict_ema": AVERAGED},
        1,
        2,
        "also holds EMA weights in state_dict_ema; --ema takes them",
    ),
    "two names": ({"model": PUBLISHED, "model_ema": AVERAGED}, 1, 2, "in model_ema;"),
    "the average first": ({"ema": AVERAGED, "model": PUBLISHED}, 1, 2, "in ema;"),
    "a callback of Lightning": (
        {
            "state_dict": PUBLISHED,
            "callbacks": {"EMA{'decay': 0.99}": {"ema_weights": AVERAGED}},
        },
        1,
        2,
        "also holds EMA weights in callbacks.EMA{'decay': 0.99}.ema_weights;",
    ),
    "StochasticWeightAveraging": (
        {
            "state_dict": PUBLISHED,
            "callbacks": {"StochasticWeightAveraging": {"average_model_state": AVERAGED}},
        },
        1,
        2,
        "average_model_state; --ema",
    ),
    "in one state dict": (
        {
            "state_dict": prefixed("model.", PUBLISHED)
            | prefixed("ema_model.module.", AVERAGED)
            | {"ema_model.n_averaged": torch.tensor(1)}
        },
        1,
        2,
        "in state_dict: ema_model.*; --ema",
    ),
    "AveragedModel beside its model": (
        prefixed("net.", PUBLISHED)
        | prefixed("slow.module.", AVERAGED)
        | {"slow.n_averaged": torch.tensor(1)},
        1,
        2,
        "in slow.*; --ema",
    ),
    "the average alone": ({"ema": AVERAGED}, 2, 2, "holds EMA weights in ema, which are used"),
    # These two save the average as state_dict, and what is trained elsewhere.
    "mmengine": (
        {
            "meta": META,
            "state_dict": prefixed("backbone.", AVERAGED_ENCODER),
            "ema_state_dict": prefixed("module.backbone.", ENCODER) | {"steps": torch.tensor(1)},
            "message_hub": {"log_scalars": _HistoryBuffer()},
        },
        2,
        2,
        "holds EMA weights in state_dict, which are used",
    ),
    "WeightAveraging": (
        {
            "state_dict": AVERAGED,
            "current_model_state": PUBLISHED,
            "averaging_state": {"n_averaged": torch.tensor(1)},
        },
        2,
        2,
        "holds EMA weights in state_dict, which are used",
    ),
}


@pytest.mark.parametrize("name", BESIDE)
def test_averaged_weights_are_mentioned_and_taken_on_request(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content, plain, averaged, said = BESIDE[name]
    torch.save(content, tmp_path / "w.pth")
    assert is_model(tmp_path / "w.pth", seed=plain)
    assert sum("EMA weights" in each.getMessage() for each in caplog.records) == 1
    assert said in caplog.text
    caplog.clear()
    assert is_model(tmp_path / "w.pth", seed=averaged, ema=True)
    assert "EMA weights" not in caplog.text


@pytest.mark.parametrize(
    "content",
    [PUBLISHED, {"state_dict": PUBLISHED, "schema": {"x": ONE}}, {"ema": None} | PUBLISHED],
)
def test_without_averaged_weights_ema_is_one_line(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w\.pth holds no EMA weights; leave --ema out$"):
        load_checkpoint(tmp_path / "w.pth", CONFIG, ema=True)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"teacher": PUBLISHED, "student": AVERAGED}, "teacher and student"),
        ({"state_dict": PUBLISHED, "best": {"model": AVERAGED}}, "state_dict and best.model"),
        (prefixed("a.", PUBLISHED) | prefixed("b.c.", AVERAGED), r"a\.\* and b\.c\.\*"),
        ({"ema": PUBLISHED, "model_ema": AVERAGED}, "ema and model_ema"),
        ({"a": _Module(PUBLISHED), "b": _Module(AVERAGED)}, "a and b"),
        (
            {"module": PUBLISHED, "half": {k: v.half() for k, v in PUBLISHED.items()}},
            "module and half",
        ),
    ],
)
def test_two_models_are_refused_with_both_named(
    content: object, names: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=rf"holds two models, {names}, and does not say"):
        load_checkpoint(tmp_path / "w.pth", CONFIG)


def test_an_encoder_of_sapiens_2_is_called_so(tmp_path: Path) -> None:
    """Some of its names are those of Sapiens v1."""
    names = ("cls_token", "patch_embed.projection.weight", "blocks.0.attn.wq.weight", "ln1.weight")
    torch.save(dict.fromkeys(names, ONE), tmp_path / "w.pth")
    with pytest.raises(
        CheckpointError, match=r"encoder of Sapiens2, another .* sapiens_1b_goliath"
    ):
        load_checkpoint(tmp_path / "w.pth")


def test_a_weight_under_two_names_must_be_the_same(tmp_path: Path) -> None:
    both = PUBLISHED | wrapped("pose_encoder", "_orig_mod")
    torch.save(both, tmp_path / "same.pth")
    assert is_model(tmp_path / "same.pth", seed=1)
    torch.save(both | {"pose_encoder._orig_mod.ln1.bias": torch.ones(8)}, tmp_path / "two.pth")
    with pytest.raises(
        CheckpointError,
        match=r"twice with different values: pose_encoder\.ln1\.bias and pose_encoder\._orig_mod",
    ):
        load_checkpoint(tmp_path / "two.pth", CONFIG)


def test_a_whole_model_is_preferred_to_an_encoder_beside_it(tmp_path: Path) -> None:
    torch.save({"encoder": AVERAGED_ENCODER, "model": PUBLISHED}, tmp_path / "w.pth")
    assert is_model(tmp_path / "w.pth", seed=1)
    assert not load_checkpoint(tmp_path / "w.pth", CONFIG).fresh_head


def _module(modules: object) -> object:
    return _with({"_parameters": {}, "_buffers": {}, "_modules": modules})


def _with(held: dict[object, object]) -> object:
    value, _, _ = values_from_pickle(b"cx\ny\n)\x81.", known={}, persistent=lambda each: each)
    value.held = held  # type: ignore[attr-defined] # of a stand-in
    return value


def test_a_module_that_holds_itself_or_very_many_ends() -> None:
    itself: dict[object, object] = {}
    module = _module(itself)
    itself["inner"] = module
    with pytest.raises(CheckpointError, match="a pickled module of more than 20,000 parts"):
        find_state_dict(module)
    doubled = _module({})
    for _ in range(40):
        doubled = _module({"a": doubled, "b": doubled})
    with pytest.raises(CheckpointError, match="a pickled module of more than 20,000 parts"):
        find_state_dict(doubled)


def test_mappings_that_hold_themselves_or_very_many_names_end() -> None:
    itself: dict[str, object] = {"pose_encoder.pos_embed": ONE}
    itself["again"] = itself
    assert find_state_dict(itself).matched == {"pose_encoder.pos_embed": ("encoder.pos_embed",)}
    many = {f"m{i}": {f"n{j}": None for j in range(1_000)} for i in range(201)}
    with pytest.raises(CheckpointError, match="holds more than 200,000 names"):
        find_state_dict(many)
    modules = {f"m{i}": _module({}) for i in range(200)}
    with pytest.raises(CheckpointError, match="holds more than 200,000 names"):
        find_state_dict(modules)
    with pytest.raises(CheckpointError, match=r"holds 20,001 entries, more than the 20,000"):
        find_state_dict({f"n{i}": ONE for i in range(20_001)})


def test_a_name_of_many_parts_is_not_searched_for_long() -> None:
    assert key_maps.group_keys(["." * 100_000, "a." * 20 + "pos_embed", "x" * 300]) == []


@pytest.fixture(autouse=True)
def _level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
