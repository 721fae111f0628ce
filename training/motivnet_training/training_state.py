"""The whole state of a training as one dict, gathered from its parts and put back into them.

A state stands between two steps of the optimizer. Weights and moments do not change from one step
to the next, so that a training interrupted in between, or in a validation, resumes from the last
step and repeats the batches that it had accumulated since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

import msgspec
import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.fsdp import FullyShardedDataParallel

from motivnet.checkpoints.weights import listed
from motivnet.errors import CheckpointError
from motivnet.metrics import ClassificationMetrics
from motivnet.model import MotivNet
from motivnet.schema import Schema, SchemaError, convert
from motivnet_training.history import History
from motivnet_training.recipe import TrainingRecipe
from motivnet_training.student import Student

if TYPE_CHECKING:
    from lightning_fabric import Fabric

FORMAT = 1
_PARTS = {"format", "model", "optimizer", "scaler", "progress", "rng"}
_MOMENTS = ("exp_avg", "exp_avg_sq")
_SCALER = {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)

_Number = Annotated[int, Meta(ge=0)]


class TrainingProgress(Schema, frozen=True, kw_only=True):
    """A position between two steps of the optimizer.

    ``batch`` counts the batches of the epoch that each process has finished, ``steps`` all steps;
    ``loss_sum`` and ``loss_count`` are over the epoch's training batches so far, of all processes;
    ``best`` are the validation metrics of the best epoch.
    """

    epoch: _Number = 0
    batch: _Number = 0
    steps: _Number = 0
    loss_sum: float = 0.0
    loss_count: _Number = 0
    history: History = ()
    best: ClassificationMetrics | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedParts:
    """What holds a training's state; ``network`` is the part of ``model`` set up by Fabric."""

    model: MotivNet | Student
    network: nn.Module
    optimizer: torch.optim.Optimizer
    fabric: Fabric

    def gather_weights(self) -> Mapping[str, Tensor]:
        """Return the weights; all processes call it, and under FSDP only the first gets them."""
        if (sharded := self._sharded()) is not None:
            return cast(Mapping[str, Tensor], get_model_state_dict(sharded, options=_WHOLE))
        return self.model.state_dict()

    def gather_state(self, progress: TrainingProgress, rng: dict[str, Any]) -> dict[str, Any]:
        """Return the state to resume from; all processes call it."""
        return {
            "format": FORMAT,
            "model": self.gather_weights(),
            "optimizer": self._gather_moments(),
            "scaler": self.fabric.strategy.precision.state_dict(),
            "progress": msgspec.to_builtins(progress),
            "rng": rng,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put a state that ``check_state`` has accepted back into the parts."""
        if (sharded := self._sharded()) is not None:
            _, layout = get_state_dict(sharded, self.optimizer, options=_WHOLE)
            groups = layout["param_groups"]
            set_state_dict(
                sharded,
                self.optimizer,
                model_state_dict=state["model"],
                optim_state_dict={"state": state["optimizer"], "param_groups": groups},
                options=_WHOLE,
            )
        else:
            self.model.load_state_dict(state["model"])
            trained = trained_parameters(self.model, self.optimizer)
            numbers = {name: number for number, name in enumerate(trained)}
            moments = {numbers[name]: values for name, values in state["optimizer"].items()}
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.fabric.strategy.precision.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"]["torch"])
        if len(state["rng"]["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["rng"]["cuda"])

    def _gather_moments(self) -> dict[str, Any]:
        """The optimizer's tensors by the names of their weights; rates follow from the recipe."""
        if not self.optimizer.state:  # torch's functions for FSDP would make a step to fill it
            return {}
        if (sharded := self._sharded()) is not None:
            _, found = get_state_dict(sharded, self.optimizer, options=_WHOLE)
            return cast(dict[str, Any], found.get("state", {}))
        moments = self.optimizer.state_dict()["state"]
        names = list(trained_parameters(self.model, self.optimizer))
        return {names[number]: values for number, values in moments.items()}

    def _sharded(self) -> FullyShardedDataParallel | None:
        modules = self.network.modules()
        return next((each for each in modules if isinstance(each, FullyShardedDataParallel)), None)


def trained_parameters(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, nn.Parameter]:
    """Return the optimizer's parameters by name, in its own order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = optimizer.param_groups
    return {names[id(each)]: each for group in groups for each in group["params"]}


def capture_rng() -> dict[str, Any]:
    """Return the state of torch's generators: order and augmentation are functions of the seed."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"torch": torch.get_rng_state(), "cuda": cuda}


def check_state(
    state: Mapping[str, Any],
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: TrainingRecipe,
    batches: int,
) -> TrainingProgress:
    """Check all of a state against this training, and return its progress.

    Torch takes what it is given: what does not fit would end the training somewhere in the middle.

    Args:
        batches: Batches per epoch of one process.

    Raises:
        CheckpointError: Naming what does not fit.
    """
    if state.get("format") != FORMAT:
        raise CheckpointError(
            "the checkpoint to resume from was not written by this version of motivnet-train fit"
        )
    if different := set(state) ^ _PARTS:
        raise _unfit(f"it differs in {listed(sorted(different))}")
    _check_tensors(state["model"], model.state_dict(), "model")
    _check_moments(state["optimizer"], trained_parameters(model, optimizer))
    scaler = state["scaler"]
    if not isinstance(scaler, dict) or set(scaler) != (
        _SCALER if recipe.precision == "16-mixed" else set()
    ):
        raise _unfit("scaler has other entries")
    try:
        convert(scaler, dict[str, int | float])
        progress = convert(state["progress"], TrainingProgress)
    except SchemaError as error:
        raise CheckpointError(f"the checkpoint to resume from is damaged: {error}") from error
    if progress.batch > batches or progress.epoch > recipe.epochs:
        raise CheckpointError(
            f"the checkpoint to resume from is damaged: it stands at batch {progress.batch} of "
            f"{batches} in epoch {progress.epoch} of {recipe.epochs}"
        )
    _check_rng(state["rng"])
    return progress


def _check_moments(given: object, trained: Mapping[str, Tensor]) -> None:
    if not isinstance(given, dict) or not given.keys() <= trained.keys():
        raise _unfit("optimizer has other names")
    for name, moments in given.items():
        wanted = {"step": torch.tensor(0.0), **dict.fromkeys(_MOMENTS, trained[name])}
        _check_tensors(moments, wanted, f"optimizer.{name}")


def _check_tensors(given: object, wanted: Mapping[str, Tensor], place: str) -> None:
    if not isinstance(given, Mapping) or set(given) != set(wanted):
        raise _unfit(f"{place} has other names")
    for name, tensor in wanted.items():
        found = given[name]
        if not isinstance(found, Tensor) or _kind(found) != _kind(tensor):
            raise _unfit(f"{place}.{name} has another shape or type")


def _check_rng(given: object) -> None:
    if not isinstance(given, dict) or set(given) != {"torch", "cuda"}:
        raise _unfit("rng has other entries")
    current = capture_rng()
    states = given["cuda"]
    if not isinstance(states, list):
        raise _unfit("rng.cuda has other entries")
    known = dict.fromkeys(map(str, range(len(states))), torch.empty(16, dtype=torch.uint8))
    _check_tensors({"torch": given["torch"]}, {"torch": current["torch"]}, "rng")
    _check_tensors({str(i): each for i, each in enumerate(states)}, known, "rng.cuda")
    try:
        torch.Generator().set_state(given["torch"])
    except RuntimeError as error:
        raise _unfit("rng.torch is not the state of a generator") from error


def _kind(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _unfit(what: str) -> CheckpointError:
    return CheckpointError(f"the checkpoint to resume from is not one of this training: {what}")
