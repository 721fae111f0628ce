"""A writer of a checkpoint that is killed, and what it leaves; run as a program, it prints one JSON
object a kill.

    checkpoint_writers.py FILE COUNT SEED

A separate program, because it forks: the process of the tests has threads, and a fork of it costs
far more.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from motivnet.errors import MotivNetError
from motivnet_training.checkpointing import read_state, write_state

TENSORS = 8
VALUES = 100_000  # in each: 3.2 MB a file


def checkpoint(version: int) -> dict[str, Any]:
    """One in which every value tells the version."""
    return {
        "model": {str(number): torch.full((VALUES,), float(version)) for number in range(TENSORS)}
    }


def version_of(path: Path) -> int | str:
    """The version of a whole file; what is wrong with any other."""
    try:
        state = read_state(path)["model"]
    except MotivNetError as error:
        return str(error)
    values = np.unique(torch.stack(list(state.values())).numpy()).tolist()
    return (
        int(values[0]) if len(state) == TENSORS and len(values) == 1 else f"a mixture of {values}"
    )


def save_forever(path: Path, version: int, pipe: int) -> None:
    while True:
        version += 1
        write_state(checkpoint(version), path)
        os.write(pipe, f"{version} ".encode())


def killed_writer(path: Path, version: int, seconds: float) -> int:
    """Let a child save versions for a while, kill it, and return the last one that it finished."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            save_forever(path, version, write_end)
        finally:
            os._exit(1)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the writer ended by itself"
    os.close(write_end)
    finished = b""
    while select.select([read_end], [], [], 0)[0] and (chunk := os.read(read_end, 65_536)):
        finished += chunk
    os.close(read_end)
    return int(finished.split()[-1]) if finished else version


def main(path: Path, count: int, seed: int) -> None:
    torch.set_num_threads(1)
    draw, began = random.Random(seed), time.perf_counter()
    for version in range(3):
        write_state(checkpoint(version), path)
    longest = min(1.0, time.perf_counter() - began)  # three saves, however slow the disk
    for _ in range(count):
        version = killed_writer(path, version, draw.uniform(0, longest))
        facts: dict[str, object] = {
            "old": version,
            "new": version + 1,
            "seen": version_of(path),
            "left": len(os.listdir(path.parent)) - 1,
        }
        version += 1
        write_state(checkpoint(version), path)
        facts |= {"next": version_of(path), "swept": os.listdir(path.parent)}
        sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
