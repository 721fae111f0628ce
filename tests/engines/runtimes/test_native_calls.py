"""Calls of the real runtimes: Ctrl-C ends them, and too little memory is one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motivnet.artifact import open_artifact
from motivnet.errors import ArtifactError, RuntimeUnavailableError
from motivnet_engines.runtimes.native_calls import native_errors
from motivnet_engines.runtimes.registry import open_backend

IMAGES = np.zeros((2000, 3, 128, 96), np.float32)
"""A call of two seconds or more in one thread, so that a busy machine interrupts it in time."""

TOO_LITTLE = """
import resource, sys
import numpy as np
from motivnet.artifact import open_artifact
from motivnet.errors import MotivNetError
from motivnet_engines.system.machine import memory_from_meminfo, process_status
from motivnet_engines.runtimes.registry import open_backend

with open_backend(sys.argv[1], open_artifact(sys.argv[2]), threads=1) as runtime:
    images = np.zeros((1000, 3, 128, 96), np.float32)
    runtime.run({"image": images[:1]})
    limit = memory_from_meminfo(process_status(), "VmSize") + (64 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        runtime.run({"image": images})
    except MotivNetError as error:
        print(type(error).__name__, error)
"""


def interrupt(started: threading.Event) -> None:
    started.wait()
    os.kill(os.getpid(), signal.SIGINT)


class Watched:
    """A session or request of a runtime that remembers the calls that did not come to their end."""

    def __init__(self, real: Any, *names: str) -> None:
        self.real, self.names = real, names
        self.started, self.stopped = threading.Event(), 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.real, name)
        return self._watched(method) if name in self.names else method

    def _watched(self, method: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            self.started.set()
            try:
                return method(*args, **options)
            except Exception:
                self.stopped += 1
                raise

        return call


@pytest.mark.parametrize(
    ("name", "place", "methods"),
    [("onnxruntime", "_session", ("run",)), ("openvino", "_request", ("wait_for", "wait"))],
)
def test_ctrl_c_ends_a_call_and_the_next_one_is_right(
    name: str, place: str, methods: tuple[str, ...], fp32_artifact: Path
) -> None:
    with open_backend(name, open_artifact(fp32_artifact), threads=1) as runtime:
        expected = runtime.run({"image": IMAGES[:1]})["logits"]
        real = getattr(runtime, place)
        for _ in range(3):  # on a busy machine a call may be over before the signal arrives
            watched = Watched(real, *methods)
            setattr(runtime, place, watched)
            thread = threading.Thread(target=interrupt, args=[watched.started])
            thread.start()
            with pytest.raises(KeyboardInterrupt):
                runtime.run({"image": IMAGES})
            thread.join()
            if watched.stopped:
                break
        assert watched.stopped == 1  # ended before it was done, and not merely heard of afterwards
        np.testing.assert_array_equal(runtime.run({"image": IMAGES[:1]})["logits"], expected)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_too_little_memory_is_one_line(name: str, fp32_artifact: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOO_LITTLE, name, fp32_artifact],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == (
        f"RuntimeUnavailableError the memory is not enough for {name} to compute this batch; "
        "make it smaller, or close programs\n"
    )


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (MemoryError(), RuntimeUnavailableError, "the memory is not enough for x"),
        (RuntimeError("std::bad_alloc"), RuntimeUnavailableError, "the memory is not enough for x"),
        (
            RuntimeError("CUDA failure 2: out of memory ; GPU=0"),
            RuntimeUnavailableError,
            "the memory is not enough",
        ),
        (RuntimeError("first\nsecond"), ArtifactError, "x cannot compute the model: first"),
        (ValueError(""), ArtifactError, "x cannot compute the model: ValueError"),
    ],
)
def test_what_a_runtime_raises_is_one_line(
    error: Exception, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as raised, native_errors("x"):
        raise error
    assert "\n" not in str(raised.value)


def test_an_interruption_passes() -> None:
    with pytest.raises(KeyboardInterrupt), native_errors("x"):
        raise KeyboardInterrupt
