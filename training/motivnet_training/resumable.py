"""Whether a state is one that this training can go on from, to the shape of each tensor and the
type of each number.

Lightning and the optimiser take what they are given; what does not fit would end the training in
their midst.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from motivnet.checkpoints.weights import listed
from motivnet.errors import CheckpointError
from motivnet_training.module import EmotionModule
from motivnet_training.state import KEY

_PARTS = frozenset(
    {
        *(
            "epoch",
            "global_step",
            "pytorch-lightning_version",
            "state_dict",
            "callbacks",
            "optimizer_states",
        ),
        *("lr_schedulers", "MixedPrecision", KEY),
    }
)
_VERSION = re.compile(r"2\.\d{1,3}\.\d{1,3}[\w.+]{0,20}")
_MOMENTS = ("exp_avg", "exp_avg_sq")
_GRADIENT_SCALE = {
    "scale": 1.0,
    "growth_factor": 2.0,
    "backoff_factor": 0.5,
    "growth_interval": 2000,
    "_growth_tracker": 0,
}


def check_resumable(checkpoint: Mapping[str, Any], module: EmotionModule) -> None:
    """Returns when everything in a checkpoint is as a checkpoint of this module would have it.

    Raises:
        CheckpointError: Naming what is not.
    """
    if unknown := set(checkpoint) - _PARTS:
        raise _unfit(f"it has {listed(sorted(unknown))}")
    if not _VERSION.fullmatch(str(checkpoint.get("pytorch-lightning_version"))):
        raise _unfit("it is of another version of Lightning")
    _check_same(checkpoint.get("callbacks"), {}, "callbacks")
    _check_same(
        checkpoint.get("MixedPrecision", {}), _GRADIENT_SCALE, "MixedPrecision", may_lack=True
    )
    _check_tensors(checkpoint.get("state_dict"), module.state_dict(), "state_dict")
    configured = module.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    _check_optimizer(_only(checkpoint, "optimizer_states"), optimizer)
    _check_same(
        _only(checkpoint, "lr_schedulers"), scheduler.state_dict(), "lr_schedulers", may_lack=True
    )


def _check_optimizer(state: object, optimizer: Any) -> None:
    if not isinstance(state, Mapping) or not isinstance(state.get("state"), dict):
        raise _unfit("optimizer_states is damaged")
    _check_same(state.get("param_groups"), optimizer.state_dict()["param_groups"], "param_groups")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, moments in state["state"].items():
        if type(number) is not int or not 0 <= number < len(parameters):
            raise _unfit("optimizer_states is damaged")
        wanted = {"step": torch.tensor(0.0), **dict.fromkeys(_MOMENTS, parameters[number])}
        _check_tensors(moments, wanted, f"optimizer_states.{number}")


def _check_tensors(given: object, wanted: Mapping[str, Tensor], place: str) -> None:
    if not isinstance(given, Mapping) or set(given) != set(wanted):
        raise _unfit(f"{place} has other names")
    for name, tensor in wanted.items():
        found = given[name]
        if (
            not isinstance(found, Tensor)
            or found.shape != tensor.shape
            or found.dtype != tensor.dtype
        ):
            raise _unfit(f"{place}.{name} has another shape or type")


def _check_same(given: object, wanted: object, place: str, *, may_lack: bool = False) -> None:
    """Returns when the values are of the same types; of a number any value is.

    Args:
        may_lack: The outermost mapping may lack keys, or have more, as those of other versions of
        torch do.
    """
    if isinstance(wanted, dict):
        if not isinstance(given, dict) or (not may_lack and set(given) != set(wanted)):
            raise _unfit(f"{place} has other entries")
        for name in given.keys() & wanted.keys():
            _check_same(given[name], wanted[name], f"{place}.{name}")
    elif isinstance(wanted, (list, tuple)):
        if type(given) is not type(wanted) or len(given) != len(wanted):
            raise _unfit(f"{place} has other entries")
        for number, (found, value) in enumerate(zip(given, wanted, strict=True)):
            _check_same(found, value, f"{place}.{number}")
    elif type(given) is not type(wanted) and not (_is_number(given) and _is_number(wanted)):
        raise _unfit(f"{place} is of another type")


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _only(checkpoint: Mapping[str, Any], name: str) -> object:
    """The one entry of a list."""
    found = checkpoint.get(name)
    if not isinstance(found, list) or len(found) != 1:
        raise _unfit(f"{name} has other entries")
    return found[0]


def _unfit(what: str) -> CheckpointError:
    return CheckpointError(f"the checkpoint to resume from is not one of this training: {what}")
