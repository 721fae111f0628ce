"""NaN and infinity stop a training in the step in which they appear, and reach no file."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from motivnet.checkpoints import load_model
from motivnet.config import config_from_name_or_path
from motivnet.errors import TrainingError
from motivnet.preprocess import Preprocessing
from motivnet_training.checkpointing import read_state
from motivnet_training.data import Batch
from motivnet_training.devices import Devices
from motivnet_training.fit import fit
from motivnet_training.fit_request import FitRequest
from motivnet_training.loop import Trainer
from motivnet_training.recipe import change_recipe, get_recipe
from motivnet_training.run_folder import RunFolder

pytestmark = pytest.mark.timeout(120)

BATCHES = 7
"""Of an epoch; steps of the optimizer end with batches 2, 4, 6, 7, and 9, 11, 13, 14."""


class Planted:
    """Spoils a number in the n-th training batch, and sees what was on the disk just then."""

    def __init__(self, place: str, *, batch: int, value: float, folder: RunFolder) -> None:
        self.place = place
        self.batch = batch
        self.value = value
        self.folder = folder
        self.batches: list[tuple[str, ...]] = []
        self.files: dict[str, bytes] = {}

    def compute_loss(
        self, original: Callable[..., Tensor], trainer: Trainer, batch: Batch
    ) -> Tensor:
        names = trainer.session.training.names
        self.batches.append(tuple(names[index] for index in batch.indices.tolist()))
        if len(self.batches) != self.batch:
            return original(trainer, batch)
        self.files = {
            path.name: path.read_bytes() for path in self.folder.path.iterdir() if path.is_file()
        }
        if self.place == "input":
            batch.inputs[-1, 0, 0, 0] = self.value
        loss = original(trainer, batch)
        if self.place == "gradient":
            loss.register_hook(lambda gradient: gradient * self.value)
        return loss

    def step(
        self, original: Callable[..., Any], optimizer: torch.optim.Optimizer, *arguments: Any
    ) -> Any:
        """The optimizer's, after which its state or a weight may be spoilt."""
        result = original(optimizer, *arguments)
        if len(self.batches) == self.batch and self.place in ("weight", "state"):
            weight = optimizer.param_groups[-1]["params"][-1]
            spoilt = weight if self.place == "weight" else optimizer.state[weight]["exp_avg"]
            with torch.no_grad():
                spoilt.view(-1)[0] = self.value
        return result


def plant(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    compute_loss, step = Trainer.compute_loss, torch.optim.AdamW.step

    @functools.wraps(compute_loss)
    def spoilt_step(trainer: Trainer, batch: Batch, *_: Any) -> Tensor:
        return planted.compute_loss(compute_loss, trainer, batch)

    @functools.wraps(step)
    def spoilt_optimizer(optimizer: torch.optim.Optimizer, *arguments: Any, **options: Any) -> Any:
        return planted.step(functools.partial(step, **options), optimizer, *arguments)

    monkeypatch.setattr(Trainer, "compute_loss", spoilt_step)
    monkeypatch.setattr(torch.optim.AdamW, "step", spoilt_optimizer)


@pytest.fixture
def request_of(trainings: Any, tmp_path: Path) -> Callable[..., FitRequest]:
    config = config_from_name_or_path(str(trainings.folder / "small.json"), num_classes=7)
    values = {"epochs": 2, "batch_size": 4, "accumulate": 2, "validation_share": 0.25}
    request = FitRequest(
        config=config,
        data=trainings.folder / "faces",
        out=tmp_path / "run",
        recipe=change_recipe(get_recipe("scratch"), **values),
        preprocess=Preprocessing.named("stretch", size=config.encoder.image_size),
        devices=Devices(device="cpu"),
        checkpoint_seconds=0.0,
    )
    return functools.partial(dataclasses.replace, request)


@pytest.mark.parametrize(
    ("batch", "first", "value"), [(2, 1, torch.nan), (9, 8, torch.inf), (14, 14, torch.nan)]
)
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("input", "the loss became nan"),
        ("gradient", "a gradient became NaN or infinite"),
        ("weight", "a weight became NaN or infinite"),
        ("state", "the optimizer's state became NaN or infinite"),
    ],
)
def test_it_is_caught_in_that_step_with_its_images_and_reaches_no_file(
    batch: int,
    first: int,
    value: float,
    place: str,
    message: str,
    request_of: Callable[..., FitRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = request_of()
    planted = Planted(place, batch=batch, value=value, folder=request.folder)
    plant(planted, monkeypatch)
    with pytest.raises(TrainingError, match=message) as caught:
        fit(request)
    assert len(planted.batches) == planted.batch, "no batch was trained on after it"
    assert "\n" not in str(caught.value)
    # The one picture whose loss it is; what spoils all of a step names all of its pictures.
    of_the_step = (
        planted.batches[batch - 1][-1:]
        if place == "input"
        else sum(planted.batches[first - 1 :], ())
    )
    assert f"in epoch {1 + (batch - 1) // BATCHES}, " in str(caught.value)
    assert ", ".join(of_the_step) in str(caught.value)
    assert not any(
        name in str(caught.value) for name in set(sum(planted.batches, ())) - set(of_the_step)
    )
    left = {path.name: path.read_bytes() for path in request.out.iterdir() if path.is_file()}
    assert left == planted.files
    assert ("best.safetensors" in left) == (batch > BATCHES)


def test_a_training_goes_on_from_before_it_with_a_remedy(
    request_of: Callable[..., FitRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of()
    with monkeypatch.context() as patched:
        plant(Planted("weight", batch=9, value=torch.nan, folder=request.folder), patched)
        with pytest.raises(TrainingError):
            fit(request)
    result = fit(request_of(resume=True))
    assert len(result.history) == 2
    assert all(
        weight.isfinite().all() for weight in load_model(request.folder.best).state_dict().values()
    )
    assert read_state(request.folder.resume)["progress"]["steps"] == 8
