"""Runs ``motivnet-train`` again and again in processes of their own, without importing everything
anew for each.

Reads a JSON object a line, ``{"arguments": [...], "log": FILE, "fault": {...}}``, and answers each
with one: the exit status (negative for a signal) and whether the process left others behind. A
fault happens at the n-th call of a place in the program: a signal to the process or to its whole
group, or an exception.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch

from motivnet_training import cli, event_log, fit, inputs, saving  # noqa: F401 - imported once for all runs
from motivnet_training import summary as outcome
from motivnet_training.module import EmotionModule

PLACES: dict[str, tuple[type, str]] = {
    "before the training": (EmotionModule, "__init__"),
    "in a training batch": (EmotionModule, "training_step"),
    "before the validation": (EmotionModule, "on_validation_epoch_start"),
    "in the validation": (EmotionModule, "validation_step"),
    "before the epoch is kept": (saving.Saver, "end_epoch"),
    "before the state is saved": (saving.Saver, "_save"),
}

KINDS: dict[str, Callable[[], None]] = {
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "SIGTERM to all": lambda: os.killpg(0, signal.SIGTERM),
    "SIGINT": lambda: os.kill(os.getpid(), signal.SIGINT),
    "SIGINT to all": lambda: os.killpg(0, signal.SIGINT),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


class PlantedError(Exception):
    """What a fault of the kind ``exception`` raises."""


def plant(*, place: str, call: int, kind: str, twice: bool = False) -> None:
    """Lets something happen before the ``call``-th call of a place."""
    owner, name = PLACES[place]
    original, calls = getattr(owner, name), 0

    @functools.wraps(original)  # Lightning looks at the signature
    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and kind == "exception":
            raise PlantedError(place)
        for _ in range((calls == call) * (1 + twice)):
            KINDS[kind]()
        return original(self, *arguments, **options)

    setattr(owner, name, counted)


def no_picture(*_: object, **__: object) -> None:
    """Takes the place of curves and tables, which cost more than the training and are tested elsewhere."""


def train(arguments: list[str], log: str, fault: dict[str, Any] | None) -> NoReturn:
    """In a new process: becomes the command. Images do not fit in memory where there are workers to
    decode them.

    What is to be done at the end of a process is done, but the modules are not taken down one by
    one: that would take longer than the training.
    """
    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (0, 1, 2):
        os.dup2(file if stream else os.open(os.devnull, os.O_RDONLY), stream)
    if fault is not None:
        plant(**fault)
    if "--workers" in arguments:
        inputs.MEMORY_LIMIT = 0
    sys.argv = [
        str(Path(sys.executable).with_name("motivnet-train")),
        *arguments,
    ]  # which other ranks are started as
    status = 1
    try:
        cli.main()
    except SystemExit as ending:
        status = int(ending.code or 0)
    except BaseException:  # noqa: BLE001 - told and turned into a status, as the interpreter does
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stderr.flush()
    os._exit(status)


def ended(group: int) -> bool:
    """Whether no process of the group is left; those that find out by themselves are given some seconds."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    return False


def main() -> None:
    torch.set_num_threads(1)
    outcome.write_curves = outcome.write_confusion = no_picture  # type: ignore[assignment]
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            train(request["arguments"], request["log"], request.get("fault"))
        _, status = os.waitpid(child, 0)
        answer = {"status": os.waitstatus_to_exitcode(status), "alone": ended(child)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
