"""A state that is damaged or of another training is refused in one line, before it is used."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch.distributed.fsdp import FullyShardedDataParallel

from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.errors import CheckpointError
from motivnet.labels import EMOTIONS
from motivnet.preprocess import Preprocessing
from motivnet.schema import convert
from motivnet_training.checkpointing import read_state
from motivnet_training.data import ImageInputs, LabelledInputs
from motivnet_training.devices import Devices
from motivnet_training.loop import train
from motivnet_training.model import fresh_model, optimizer_from_recipe
from motivnet_training.recipe import RECIPES, change_recipe
from motivnet_training.run_folder import RunFolder
from motivnet_training.session import Session
from motivnet_training.training_state import (
    TrainedParts,
    TrainingProgress,
    capture_rng,
    check_state,
)

SMALL = ModelConfig(
    encoder=EncoderConfig(embed_dim=8, depth=1, num_heads=2, image_size=(32, 32)),
    decoder=DecoderConfig(embed_dim=8, num_heads=2, depth=1, mlp_dim=8),
)
PREPROCESS = Preprocessing.named("stretch", size=(32, 32))
RECIPE = change_recipe(RECIPES["scratch"], augmentations="none", batch_size=7, epochs=2)
State = dict[str, Any]


def session(folder: Path) -> Session:
    pixels = np.random.default_rng(0).integers(0, 256, (14, 32, 32, 3), np.uint8)
    few = LabelledInputs(
        inputs=ImageInputs(samples=(), preprocess=PREPROCESS, decoded=pixels),
        targets=torch.eye(7)[torch.arange(14) % 7],
        names=tuple(map(str, range(14))),
    )
    return Session(
        model=fresh_model(SMALL, seed=0),
        config=SMALL,
        recipe=RECIPE,
        labels=EMOTIONS[:7],
        preprocess=PREPROCESS,
        training=few,
        validation=few,
        devices=Devices(device="cpu"),
        folder=RunFolder(folder),
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> State:
    """The state of a training at the end of the first of two epochs."""
    folder = tmp_path_factory.mktemp("run")
    train(session(folder))
    state = read_state(folder / "last.ckpt")
    progress = convert(state["progress"], TrainingProgress)
    earlier = msgspec.structs.replace(progress, epoch=1, steps=2, history=progress.history[:1])
    return state | {"progress": msgspec.to_builtins(earlier)}


def resume(state: State, folder: Path) -> None:
    torch.save(state, folder / "last.ckpt")
    train(session(folder), resume=folder / "last.ckpt")


def test_the_state_itself_is_resumed_from(saved: State, tmp_path: Path) -> None:
    resume(saved, tmp_path)
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 3


def test_a_state_in_16_bits_has_the_state_of_the_gradient_scaler(saved: State) -> None:
    model = fresh_model(SMALL, seed=0)
    parts = {"model": model, "optimizer": optimizer_from_recipe(model, RECIPE), "batches": 2}
    half = change_recipe(RECIPE, precision="16-mixed")
    scaler = {
        "scale": 65536.0,
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": 2000,
        "_growth_tracker": 2,
    }
    assert check_state(saved | {"scaler": scaler}, recipe=half, **parts).steps == 2
    for wrong in ({}, scaler | {"scale": "x"}, {"scale": 1.0}, 3):
        with pytest.raises(CheckpointError):
            check_state(saved | {"scaler": wrong}, recipe=half, **parts)
    with pytest.raises(CheckpointError, match="scaler has other entries"):
        check_state(saved | {"scaler": scaler}, recipe=RECIPE, **parts)


def _set(*path: str | int, value: object) -> Callable[[State], None]:
    def change(checkpoint: State) -> None:
        inner: Any = checkpoint
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value

    return change


def _without(*path: str | int) -> Callable[[State], None]:
    def change(checkpoint: State) -> None:
        inner: Any = checkpoint
        for step in path[:-1]:
            inner = inner[step]
        del inner[path[-1]]

    return change


QUERIES = "decoder.queries"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("loops", value={}), "it differs in loops"),
        (_set("hyper_parameters", value={"_instantiator": "os.mkdir"}), "in hyper_parameters"),
        (_without("optimizer"), "it differs in optimizer"),
        (_set("format", value=2), "was not written by this version"),
        (_set("format", value=[]), "was not written by this version"),
        (_set("model", value=[]), "model has other names"),
        (_set("model", value={}), "model has other names"),
        (_set("model", QUERIES, value=torch.zeros(7, 9)), "queries has another shape or type"),
        (_set("model", QUERIES, value="x"), "queries has another shape or type"),
        (_set("optimizer", value=[]), "optimizer has other names"),
        (_set("optimizer", "decoder.x", value={}), "optimizer has other names"),
        (_set("optimizer", QUERIES, value=3), r"optimizer\.decoder\.queries has other names"),
        (_set("optimizer", QUERIES, "step", value=torch.ones(9)), r"step has another shape"),
        (_set("optimizer", QUERIES, "exp_avg", value=torch.ones(9)), r"exp_avg has another shape"),
        (_set("scaler", value=[]), "scaler has other entries"),
        (_set("progress", value=3), "is damaged: Expected `object`"),
        (_set("progress", "epoch", value=-1), "is damaged: epoch: Expected `int` >= 0"),
        (_set("progress", "epoch", value=2**62), "batch 0 of 2 in epoch 4611686018427387904 of 2"),
        (_set("progress", "batch", value=10**9), "it stands at batch 1000000000 of 2 in epoch 1"),
        (_set("progress", "epoch", value=1.5), "is damaged: epoch: Expected `int`"),
        (_set("progress", "loss_sum", value=float("nan")), "is damaged: NaN and infinity"),
        (_set("progress", "history", value=[[]]), r"is damaged: history\[0\]"),
        (_set("rng", value=[]), "rng has other entries"),
        (_without("rng", "cuda"), "rng has other entries"),
        (_set("rng", "cuda", value=3), r"rng\.cuda has other entries"),
        (_set("rng", "cuda", value=[torch.zeros(3)]), r"rng\.cuda\.0 has another shape"),
        (_set("rng", "torch", value=torch.zeros(3, dtype=torch.uint8)), r"rng\.torch has another"),
        (_set("rng", "torch", value=torch.zeros(5056, dtype=torch.uint8)), r"rng\.torch is not"),
        (_set("rng", "torch", value=3), r"rng\.torch has another shape or type"),
    ],
)
def test_what_does_not_fit_is_one_line(
    change: Callable[[State], None], message: str, saved: State, tmp_path: Path
) -> None:
    state = copy.deepcopy(saved)
    change(state)
    with pytest.raises(CheckpointError, match=message) as caught:
        resume(state, tmp_path)
    assert str(caught.value).startswith("the checkpoint to resume from ")
    assert "\n" not in str(caught.value)


NO_STATE = SimpleNamespace(state_dict=dict, load_state_dict=lambda state: None)
FABRIC = SimpleNamespace(strategy=SimpleNamespace(precision=NO_STATE))
"""A Fabric whose precision has no state."""


def make_sharded() -> tuple[FullyShardedDataParallel, TrainedParts]:
    model = fresh_model(SMALL, seed=0).train()
    optimizer = optimizer_from_recipe(model, RECIPE)
    network = FullyShardedDataParallel(model, use_orig_params=True, device_id=torch.device("cpu"))
    parts = TrainedParts(model=model, network=network, optimizer=optimizer, fabric=FABRIC)  # type: ignore[arg-type]
    return network, parts


def step(network: torch.nn.Module, optimizer: torch.optim.Optimizer, *, seed: int) -> None:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    network(images).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.filterwarnings("ignore")  # one process shards nothing, of which torch warns
def test_the_state_under_fsdp_is_that_of_one_process_and_is_restored_to_the_same_bits() -> None:
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    try:
        network, parts = make_sharded()
        assert parts.gather_state(TrainingProgress(), capture_rng())["optimizer"] == {}
        step(network, parts.optimizer, seed=1)
        state = copy.deepcopy(parts.gather_state(TrainingProgress(steps=1), capture_rng()))
        alone = fresh_model(SMALL, seed=0).train()
        optimizer = optimizer_from_recipe(alone, RECIPE)
        check_state(state, model=alone, optimizer=optimizer, recipe=RECIPE, batches=2)
        step(alone, optimizer, seed=1)
        for name, weight in alone.state_dict().items():
            assert torch.equal(state["model"][name], weight), name
        other, restored = make_sharded()
        restored.restore(state)
        for each, its in ((network, parts), (other, restored)):
            step(each, its.optimizer, seed=2)
        expected = parts.gather_weights()
        assert all(torch.equal(w, expected[n]) for n, w in restored.gather_weights().items())
    finally:
        torch.distributed.destroy_process_group()
