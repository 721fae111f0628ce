"""A state that is damaged or of another training is refused in a line, before the training goes on from it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.errors import CheckpointError
from motivnet.labels import EMOTIONS
from motivnet.preprocess import InputRecipe
from motivnet_training.checkpoint_io import AtomicCheckpointIO
from motivnet_training.data import LabelledInputs
from motivnet_training.devices import Hardware
from motivnet_training.epoch import EpochKeeper
from motivnet_training.initialisation import fresh_model
from motivnet_training.inputs import ImageInputs, MemoryPictures
from motivnet_training.recipe import RECIPES, changed
from motivnet_training.run_folder import RunFolder
from motivnet_training.session import Session, train
from motivnet_training.state import position_from_checkpoint

SMALL = ModelConfig(
    encoder=EncoderConfig(embed_dim=8, depth=1, num_heads=2, image_size=(32, 32)),
    decoder=DecoderConfig(embed_dim=8, num_heads=2, depth=1, mlp_dim=8),
)
PREPROCESS = InputRecipe.named("stretch", size=(32, 32))
RECIPE = changed(RECIPES["scratch"], augmentations="none", batch_size=7, epochs=2)
State = dict[str, Any]


def session(folder: Path) -> Session:
    pictures = MemoryPictures(
        images=np.random.default_rng(0).integers(0, 256, (14, 32, 32, 3), np.uint8)
    )
    few = LabelledInputs(
        inputs=ImageInputs(pictures=pictures, recipe=PREPROCESS),
        targets=torch.eye(7)[torch.arange(14) % 7],
        names=tuple(map(str, range(14))),
    )
    keeper = EpochKeeper(
        folder=RunFolder(folder),
        recipe=RECIPE,
        config=SMALL,
        labels=EMOTIONS[:7],
        preprocess=PREPROCESS,
        validation=few,
        metadata={},
    )
    return Session(
        model=fresh_model(SMALL, seed=0),
        training=few,
        keeper=keeper,
        seed=0,
        hardware=Hardware(accelerator="cpu"),
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> State:
    """The state of a training at the end of the first of two epochs."""
    folder = tmp_path_factory.mktemp("run")
    train(session(folder))
    checkpoint = AtomicCheckpointIO().load_checkpoint(folder / "last.ckpt")
    position = position_from_checkpoint(checkpoint)
    earlier = dataclasses.replace(position, epoch=1, steps=2, history=position.history[:1])
    checkpoint["motivnet"]["position"] = dataclasses.asdict(earlier)
    return checkpoint


def resume(checkpoint: State, folder: Path) -> None:
    torch.save(checkpoint, folder / "last.ckpt")
    train(session(folder), resume=folder / "last.ckpt")


def test_the_state_itself_is_gone_on_from(saved: State, tmp_path: Path) -> None:
    resume(saved, tmp_path)
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 3


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


OPTIMIZER = ("optimizer_states", 0)
RANDOM = ("motivnet", "random")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("loops", value={}), "it has loops"),
        (_set("hyper_parameters", value={"_instantiator": "os.mkdir"}), "it has hyper_parameters"),
        (_set("pytorch-lightning_version", value="0.1"), "another version of Lightning"),
        (_set("pytorch-lightning_version", value=[]), "another version of Lightning"),
        (_without("pytorch-lightning_version"), "another version of Lightning"),
        (_set("callbacks", value={"TrainingState": {}}), "callbacks has other entries"),
        (_set("callbacks", value=3), "callbacks has other entries"),
        (_set("state_dict", value=[]), "state_dict has other names"),
        (_set("state_dict", value={}), "state_dict has other names"),
        (
            _set("state_dict", "model.decoder.queries", value=torch.zeros(7, 9)),
            "queries has another shape or type",
        ),
        (
            _set("state_dict", "model.decoder.queries", value="x"),
            "queries has another shape or type",
        ),
        (_set("optimizer_states", value=[]), "optimizer_states has other entries"),
        (_set("optimizer_states", value={}), "optimizer_states has other entries"),
        (_set("optimizer_states", value=[3]), "optimizer_states is damaged"),
        (_set(*OPTIMIZER, "param_groups", value=[]), "param_groups has other entries"),
        (
            _set(*OPTIMIZER, "param_groups", 0, "lr", value="x"),
            r"param_groups\.0\.lr is of another type",
        ),
        (_set(*OPTIMIZER, "param_groups", 0, "params", value=[0]), r"params has other entries"),
        (_set(*OPTIMIZER, "state", 99, value={}), "optimizer_states is damaged"),
        (_set(*OPTIMIZER, "state", 0, value=3), r"optimizer_states\.0 has other names"),
        (
            _set(*OPTIMIZER, "state", 0, "step", value=torch.ones(9)),
            r"0\.step has another shape or type",
        ),
        (
            _set(*OPTIMIZER, "state", 0, "exp_avg", value=torch.ones(9)),
            r"0\.exp_avg has another shape or type",
        ),
        (_set("lr_schedulers", value=[]), "lr_schedulers has other entries"),
        (_set("lr_schedulers", 0, "base_lrs", value=[]), "base_lrs has other entries"),
        (_set("lr_schedulers", 0, "last_epoch", value="x"), "last_epoch is of another type"),
        (_set("MixedPrecision", value=[]), "MixedPrecision has other entries"),
        (_set("motivnet", value=3), "was not written by this version"),
        (_without("motivnet", "position"), "is damaged: value must be an object"),
        (_set("motivnet", "position", "epoch", value=-1), "a number below 0"),
        (
            _set("motivnet", "position", "epoch", value=2**62),
            "it stands at batch 0 of 2 in epoch 4611686018427387904 of 2",
        ),
        (
            _set("motivnet", "position", "batch", value=10**9),
            "it stands at batch 1000000000 of 2 in epoch 1 of 2",
        ),
        (_set("motivnet", "position", "epoch", value=1.5), "is damaged: epoch must be an integer"),
        (_set("motivnet", "position", "history", value=[[]]), "is damaged: history"),
        (_without(*RANDOM), "random generators"),
        (_set(*RANDOM, value=[]), "random generators"),
        (_set(*RANDOM, "python", value=[3, [1, 2], None]), "random generators"),
        (_set(*RANDOM, "numpy", 2, value=2_000_000_000), "random generators"),
        (_set(*RANDOM, "numpy", 2, value=-9), "random generators"),
        (_set(*RANDOM, "numpy", 1, value=[1, 2]), "random generators"),
        (_set(*RANDOM, "numpy", 0, value="PCG64"), "random generators"),
        (_set(*RANDOM, "torch", value=torch.zeros(3, dtype=torch.uint8)), "random generators"),
        (_set(*RANDOM, "torch", value=3), "random generators"),
    ],
)
def test_what_does_not_fit_is_one_line(
    change: Callable[[State], None], message: str, saved: State, tmp_path: Path
) -> None:
    checkpoint = copy.deepcopy(saved)
    change(checkpoint)
    with pytest.raises(CheckpointError, match=message) as caught:
        resume(checkpoint, tmp_path)
    assert str(caught.value).startswith("the checkpoint to resume from ")
    assert "\n" not in str(caught.value)
