"""The process in which one candidate lives: ``python -m motivnet_bench.latency.worker``, spoken to
over its pipes.

A process of its own gives each candidate its own thread pool, its own memory to be counted, and a
death of its own.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import MotivNetError
from motivnet.printable import guard_output, one_line
from motivnet.runtime import Runtime
from motivnet_bench.latency.protocol import (
    ArtifactModel,
    Failed,
    Memory,
    MemoryRequest,
    Opened,
    OpenRequest,
    PyTorchModel,
    Reply,
    Request,
    Turn,
    TurnRequest,
    decode_request,
    encode,
)

REWARM_SHARE = 0.1
"""Part of a turn's duration spent on untimed calls first: the others' turns have emptied the caches."""

ON_GPU = frozenset({"tensorrt", "tensorrt-rtx", "onnxruntime-cuda"})

_LONGEST_ERROR = 300
_PR_SET_PDEATHSIG = 1


class OpenModel:
    """An open runtime, its input, and the time of its last call."""

    def __init__(self, request: OpenRequest) -> None:
        start = time.perf_counter()
        self._runtime = _open_runtime(request)
        self.load = time.perf_counter() - start
        array = np.load(request.input, allow_pickle=False)
        self._inputs: dict[str, NDArray[Any]] = {self._runtime.inputs[0].name: array}
        self._last = 0.0
        self._device = _device_name(request.model)

    def opened(self, *, warmup: int) -> Opened:
        """Makes the first call and the warm-up calls."""
        start = time.perf_counter()
        logits = self._runtime.run(self._inputs)["logits"]
        first = time.perf_counter() - start
        if not np.isfinite(logits).all():
            raise MotivNetError(f"the logits are not finite: {logits[0].tolist()}")
        for _ in range(warmup):
            self._call()
        return Opened(
            compute=self._runtime.compute,
            device=self._device,
            load=self.load,
            first_call=first,
            logits=tuple(tuple(float(value) for value in row) for row in logits),
        )

    def turn(self, duration: float) -> Turn:
        """Calls for ``duration`` seconds, one at least, after untimed ones where a call is short enough for them."""
        gc.collect()
        gc.disable()
        try:
            self._rewarm(duration * REWARM_SHARE)
            end = time.perf_counter() + duration
            seconds = [self._call()]
            while time.perf_counter() < end:
                seconds.append(self._call())
        finally:
            gc.enable()
        return Turn(seconds=tuple(seconds))

    def close(self) -> None:
        """Frees the model."""
        self._runtime.close()

    def _rewarm(self, budget: float) -> None:
        end = time.perf_counter() + budget
        while self._last <= budget and time.perf_counter() < end:
            self._call()

    def _call(self) -> float:
        start = time.perf_counter()
        self._runtime.run(self._inputs)
        self._last = time.perf_counter() - start
        return self._last


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answers requests until there are no more; what goes wrong is an answer too."""
    model: OpenModel | None = None
    for line in requests:
        reply: Reply
        try:
            request = decode_request(line)
            if isinstance(request, OpenRequest):
                model = OpenModel(request)
            reply = _answer(request, model)
        except Exception as error:  # noqa: BLE001  # any backend's any failure is this candidate's row
            traceback.print_exc()
            reply = Failed(error=_one_line(error))
        replies.write(encode(reply))
        replies.flush()
    if model is not None:
        model.close()


def _answer(request: Request, model: OpenModel | None) -> Reply:
    if isinstance(request, MemoryRequest):
        return Memory(peak=peak_memory())
    if model is None:
        raise RuntimeError("a turn was asked for before a model was opened")
    if isinstance(request, TurnRequest):
        return model.turn(request.duration)
    return model.opened(warmup=request.warmup)


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes (``VmHWM``)."""
    for line in (
        Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    ):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM line")


def _open_runtime(request: OpenRequest) -> Runtime:
    """The backends are imported here, so that a worker loads its own and no other."""
    if isinstance(request.model, ArtifactModel):
        from motivnet.artifact import open_artifact
        from motivnet_engines.runtimes.registry import open_backend

        return open_backend(
            request.model.runtime, open_artifact(request.model.folder), threads=request.threads
        )
    return _pytorch_runtime(request.model, request.threads)


def _pytorch_runtime(source: PyTorchModel, threads: int) -> Runtime:
    from motivnet.checkpoints import load_model
    from motivnet.model import build_model
    from motivnet.model.runtime import TorchRuntime

    config = source.config
    model = (
        build_model(config, seed=0)
        if source.checkpoint is None
        else load_model(Path(source.checkpoint), config)
    )
    return TorchRuntime(
        model, config=config, compute=source.compute, device=source.device, threads=threads
    )


def _device_name(model: PyTorchModel | ArtifactModel) -> str:
    if isinstance(model, ArtifactModel):
        return "cuda" if model.runtime in ON_GPU else "cpu"
    if model.device == "cpu":
        return "cpu"
    import torch

    return str(torch.cuda.get_device_name(model.device))


def _one_line(error: Exception) -> str:
    named = str(error) if isinstance(error, MotivNetError) else f"{type(error).__name__}: {error}"
    return one_line(named, limit=_LONGEST_ERROR)


def _die_with_parent() -> None:
    """Asks the kernel to kill this process when its parent dies, even while it is stopped between turns."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _claim_stdout() -> BinaryIO:
    """The pipe to the benchmark; whatever else writes to standard output now writes to standard error."""
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return pipe


def main() -> None:
    """Runs a worker on its standard input and output."""
    _die_with_parent()
    guard_output()
    serve(sys.stdin.buffer, _claim_stdout())


if __name__ == "__main__":
    main()
