"""Runs ``motivnet-train`` many times, each in a child process forked after all imports.

Reads one JSON object per line, ``{"arguments": [...], "log": FILE, "fault": {...}, "ranks": 1}``,
and answers each with one: the exit statuses of the ranks (negative for a signal) and whether they
left other processes behind. A fault happens at the n-th call of a place in the program, in one
rank: a signal to the process or to its whole group, or an exception.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import torch

from motivnet_training import cli, data, event_log, fit, loop, summary  # noqa: F401 - imported once

PLACES: dict[str, tuple[Any, str]] = {
    "before the training": (loop, "prepare_model"),
    "in a training batch": (loop.Trainer, "compute_loss"),
    "before the validation": (loop.Trainer, "validate"),
    "in the validation": (loop.Trainer, "predict"),
    "before the epoch is kept": (loop.Trainer, "end_epoch"),
    "before the state is saved": (loop.Trainer, "save"),
}

PATIENCE = 120
HANGS = 99

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
    """Make something happen before the ``call``-th call of a place."""
    owner, name = PLACES[place]
    original, calls = getattr(owner, name), 0

    @functools.wraps(original)
    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and kind == "exception":
            raise PlantedError(place)
        for _ in range((calls == call) * (1 + twice)):
            KINDS[kind]()
        return original(*arguments, **options)

    setattr(owner, name, counted)


def no_picture(*_: object, **__: object) -> None:
    """Replace the plots, which cost more than the training and are tested elsewhere."""


def train(arguments: list[str], log: str, fault: dict[str, Any] | None) -> NoReturn:
    """Become the command, in a new process.

    With workers, images do not fit in memory, so that there is something to decode. Exit handlers
    run, but modules are not taken down one by one: that would take longer than the training.
    """
    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (0, 1, 2):
        os.dup2(file if stream else os.open(os.devnull, os.O_RDONLY), stream)
    if fault is not None:
        plant(**fault)
    if "--workers" in arguments:
        data.MEMORY_LIMIT = 0
    sys.argv = ["motivnet-train", *arguments]
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


def start(request: dict[str, Any], *, rank: int, ranks: int, port: int) -> int:
    """Fork one process of the command, as a launcher would start it where there are several."""
    child = os.fork()
    if child == 0:
        if ranks > 1:
            os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(ranks)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        fault = dict(request.get("fault") or {})
        is_faulty = bool(fault) and fault.pop("rank", 0) == rank
        log = request["log"] + (f".{rank}" if rank else "")
        train(request["arguments"], log, fault if is_faulty else None)
    return child


def wait_for(child: int) -> int:
    """Return the exit status of a process; one that hangs is killed, with another status."""
    for _ in range(PATIENCE * 50):
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return HANGS


def ended(group: int) -> bool:
    """Whether no process of the group is left; those that find out by themselves get seconds."""
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
    with contextlib.suppress(ImportError):  # typer imports it when it parses, for half a second
        importlib.import_module("typer._adapters")
    vars(summary).update(write_curves=no_picture, write_confusion=no_picture)
    for line in sys.stdin:
        request = json.loads(line)
        ranks = request.get("ranks", 1)
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        children = [start(request, rank=rank, ranks=ranks, port=port) for rank in range(ranks)]
        statuses = [wait_for(child) for child in children]
        left = [child for child in children if not ended(child)]
        sys.stdout.write(json.dumps({"statuses": statuses, "alone": not left}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
