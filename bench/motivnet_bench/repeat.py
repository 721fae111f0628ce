"""The command that repeats a run, without telling where its files lie."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_REPEATED = {"runtimes": "runtime", "tests": "test"}
"""Fields of options that are given one at a time."""


def repeat_command(command: str, target: Sequence[str | Path], options: DataclassInstance) -> str:
    """``motivnet-bench`` with a command, its target and every option that is not at its default."""
    words = ["motivnet-bench", command, *(_shown(word) for word in target)]
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value != field.default:
            words += _option(field.name, value)
    return shlex.join(words)


def _option(name: str, value: Any) -> Iterator[str]:
    option = f"--{_REPEATED.get(name, name).replace('_', '-')}"
    if value is True:
        yield option
        return
    for each in value if isinstance(value, tuple) else (value,):
        yield from (option, _shown(each))


def _shown(value: Any) -> str:
    """A path below the working folder relative to it, any other by its name alone: reports are passed on."""
    if not isinstance(value, Path):
        return str(value)
    absolute, here = value.absolute(), Path.cwd()
    return (
        str(absolute.relative_to(here))
        if absolute.is_relative_to(here) and absolute != here
        else absolute.name
    )
