"""What takes the place of the objects in a pickle, none of which is created.

A stand-in has the name of a class or function and, as data, the attributes or the items that the
file gives to the object. The weights of a pickled module are found in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

from motivnet.errors import CheckpointError

MAX_ENTRIES = 20_000
"""Ten times the tensors of the largest model, with those of its optimiser."""


class PickleError(ValueError):
    """The bytes are not a pickle that can be read; the message says why."""


class PickleCutOffError(PickleError):
    """The pickle does not end within the bytes that were given."""


class PickleTooLargeError(PickleError):
    """The pickle holds more values than any file of weights needs."""


@dataclass(slots=True)
class StandIn:
    """Takes the place of an object: its class's name, and what the file has it hold."""

    name: str
    held: dict[object, object] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Builder:
    """A name that a pickle may call.

    ``build`` gets the arguments as the file has them, has to check them, and may give a
    ``StandIn``.
    """

    build: Callable[[tuple[object, ...]], object]


def mapping_from(value: object) -> Mapping[object, object] | None:
    """Return a dictionary, what a stand-in holds, or the weights of a pickled module by name.

    Raises:
        CheckpointError: If a module has more modules than any model, or holds itself.
    """
    if not isinstance(value, StandIn):
        return value if isinstance(value, Mapping) else None
    return _state_dict(value) if is_module(value) else value.held


def is_module(value: object) -> TypeGuard[StandIn]:
    """Return whether a value stands for a ``torch.nn.Module``, by what it holds."""
    return isinstance(value, StandIn) and all(
        isinstance((value.held or {}).get(name), Mapping) for name in ("_parameters", "_modules")
    )


def _state_dict(module: StandIn) -> dict[object, object]:
    """Return parameters and buffers by their names, as ``Module.state_dict`` builds them."""
    found: dict[object, object] = {}
    waiting, seen = [("", module)], 0
    while waiting:
        prefix, each = waiting.pop()
        tensors, modules = _mapping_in(each, "_parameters"), _mapping_in(each, "_modules")
        buffers = _mapping_in(each, "_buffers")
        seen += 1 + len(tensors) + len(buffers) + len(modules)
        if seen > 2 * MAX_ENTRIES or len(prefix) > MAX_ENTRIES:
            raise CheckpointError(
                f"holds a pickled module of more than {MAX_ENTRIES:,} parts; save its state dict"
            )
        for name, tensor in (*tensors.items(), *buffers.items()):
            if tensor is not None:
                found[f"{prefix}{name}"] = tensor
        inner = [(f"{prefix}{name}.", part) for name, part in modules.items()]
        waiting += [(name, part) for name, part in reversed(inner) if is_module(part)]
    return found


def _mapping_in(module: StandIn, name: str) -> Mapping[object, object]:
    parts = (module.held or {}).get(name)
    return parts if isinstance(parts, Mapping) else {}
