"""The process of one candidate, and the messages that it exchanges with the benchmark.

In its own process a candidate has its own thread pool and its own memory, which can be measured,
and a crash affects no other candidate.
"""

from __future__ import annotations

import contextlib
import gc
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet.child_process import Connection, connect_to_parent
from motivnet.config import ModelConfig
from motivnet.errors import MotivNetError
from motivnet.printable import one_line
from motivnet.runtime import Runtime
from motivnet.schema import Schema
from motivnet_bench.target import TorchCompiler, TorchCompute, open_pytorch

FEWER = "as all candidates stay open; measure fewer at once with --runtime and --baseline"

_OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemory|can't allocate memory|failed to allocate memory|bad_alloc"
    r"|bad allocation|MemoryAllocation",
    re.IGNORECASE,
)
"""How PyTorch, CUDA, ONNX Runtime, OpenVINO and the C++ library say that the memory ran out."""


class PyTorchModel(Schema, frozen=True, kw_only=True, tag=True):
    """The PyTorch baseline: a checkpoint, or random weights of this configuration without one."""

    checkpoint: str | None
    ema: bool = False
    config: ModelConfig
    compute: TorchCompute
    compiler: TorchCompiler | None = None
    device: str


class ArtifactModel(Schema, frozen=True, kw_only=True, tag=True):
    """An artifact's folder and the runtime that opens it."""

    folder: str
    runtime: str


class Open(Schema, frozen=True, kw_only=True, tag=True):
    """Open a model, load the ``.npy`` inputs, make the first call and ``warmup`` more."""

    model: PyTorchModel | ArtifactModel
    inputs: str
    threads: int
    warmup: int


class Measure(Schema, frozen=True, kw_only=True, tag=True):
    """Measure one round: calls one after the other for some seconds, at least one."""

    seconds: float


class Stage(Schema, frozen=True, kw_only=True, tag=True):
    """What opening a model does now; an answer follows."""

    name: str


class Opened(Schema, frozen=True, kw_only=True, tag=True):
    """Seconds of loading and of the first call, and the logits ``(N, classes)`` of the inputs.

    ``compilation`` are the seconds of the call that compiled the model, None if none did.
    """

    compute: str
    device: str
    load: float
    compilation: float | None
    first_call: float
    logits: tuple[tuple[float, ...], ...]


class Measured(Schema, frozen=True, kw_only=True, tag=True):
    """Seconds of every call, and the peak resident memory of the process so far in bytes.

    ``waiting`` is the share of the round in which its threads waited for a core, None if the kernel
    does not tell.
    """

    calls: tuple[float, ...]
    waiting: float | None
    peak_memory: int


class Failed(Schema, frozen=True, kw_only=True, tag=True):
    """The reason, in one line."""

    error: str


class OpenModel:
    """An open runtime with its inputs.

    Args:
        clock: Returns seconds.
    """

    def __init__(
        self,
        runtime: Runtime,
        inputs: NDArray[Any],
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._runtime = runtime
        self._inputs = {runtime.inputs[0].name: inputs}
        self._clock = clock
        self._last_call = 0.0

    def first_call(self) -> tuple[float, NDArray[np.float32]]:
        """Return the seconds and the logits of a call.

        Raises:
            MotivNetError: If the logits are not finite.
        """
        start = self._clock()
        logits = self._runtime.run(self._inputs)["logits"]
        seconds = self._clock() - start
        if not np.isfinite(logits).all():
            raise MotivNetError(f"the logits are not finite: {logits[0].tolist()}")
        return seconds, logits

    def warm_up(self, calls: int) -> None:
        """Make untimed calls."""
        for _ in range(calls):
            self._call()

    def measure(self, seconds: float) -> tuple[float, ...]:
        """Return the seconds of the calls of one round, at least one.

        Untimed calls come first, if the last call was short enough for them: the other candidates
        have emptied the caches.
        """
        gc.collect()
        gc.disable()
        try:
            budget = 0.1 * seconds
            end = self._clock() + budget
            while self._last_call <= budget and self._clock() < end:
                self._call()
            end = self._clock() + seconds
            calls = [self._call()]
            while self._clock() < end:
                calls.append(self._call())
        finally:
            gc.enable()
        return tuple(calls)

    def close(self) -> None:
        """Free the model, and end the browser of one that runs in it."""
        self._runtime.close()

    def _call(self) -> float:
        start = self._clock()
        self._runtime.run(self._inputs)
        self._last_call = self._clock() - start
        return self._last_call


def serve(parent: Connection) -> None:
    """Answer requests until the benchmark closes the connection; a failure is an answer too."""
    model: OpenModel | None = None
    while (request := parent.receive(Open | Measure)) is not None:
        try:
            if isinstance(request, Open):
                model, opened = open_model(request, lambda name: parent.send(Stage(name=name)))
                parent.send(opened)
            elif model is None:
                parent.send(Failed(error="a round was requested before a model was opened"))
            else:
                before = scheduling()
                calls = model.measure(request.seconds)
                waiting = waiting_share(before, scheduling())
                parent.send(Measured(calls=calls, waiting=waiting, peak_memory=peak_memory()))
        except Exception as error:  # noqa: BLE001 - whatever a backend raises belongs into its row
            parent.send(Failed(error=describe_failure(error)))
    if model is not None:
        model.close()


def describe_failure(error: Exception) -> str:
    """Return one line about whatever a backend raises; a lack of memory is named as such."""
    text = str(error) if isinstance(error, MotivNetError) else f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(text):
        return f"the memory ran out, {FEWER}: {one_line(text, limit=150)}"
    return one_line(text, limit=300)


def open_model(
    request: Open, on_stage: Callable[[str], None] = lambda _: None
) -> tuple[OpenModel, Opened]:
    """Open the model of a request and make its first calls.

    Args:
        on_stage: Called with the name of each stage when it begins.
    """
    on_stage("loading")
    start = time.perf_counter()
    runtime, device = _open_runtime(request.model, threads=request.threads)
    load = time.perf_counter() - start
    model = OpenModel(runtime, np.load(request.inputs, allow_pickle=False))
    compilation = None
    if isinstance(request.model, PyTorchModel) and request.model.compiler is not None:
        on_stage("compiling")
        compilation, _ = model.first_call()
    on_stage("first call")
    first_call, logits = model.first_call()
    on_stage("warming up")
    model.warm_up(request.warmup)
    return model, Opened(
        compute=runtime.compute,
        device=device,
        load=load,
        compilation=compilation,
        first_call=first_call,
        logits=tuple(tuple(row) for row in logits.tolist()),
    )


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes, with its children's.

    A browser is several processes; what they share counts in each. ``getrusage`` would give the
    memory of the parent if it was larger when it started this process.
    """
    found = 0
    for process in processes():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            status = (process / "status").read_text(encoding="ascii", errors="replace")
            line = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
            found += int(line[1]) * 1024 if line else 0
    if not found:
        raise RuntimeError("/proc/self/status has no VmHWM line")
    return found


def processes() -> list[Path]:
    """Return the folders in ``/proc`` of this process, its children, and theirs."""
    found = [Path("/proc/self")]
    for process in found:  # it grows meanwhile
        for children in process.glob("task/*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                numbers = children.read_text(encoding="ascii").split()
                found += [Path("/proc", number) for number in numbers]
    return found


def scheduling() -> tuple[int, int] | None:
    """Return the time in which the threads of these processes ran, and waited for a core.

    None if the kernel does not count it.
    """
    ran = waited = found = 0
    paths = (path for process in processes() for path in process.glob("task/*/schedstat"))
    for path in paths:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            times = path.read_text(encoding="ascii").split()
            ran, waited, found = ran + int(times[0]), waited + int(times[1]), found + 1
    return (ran, waited) if found else None


def waiting_share(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    """Return the share of waiting between two results of ``scheduling``, from 0 to 1."""
    if before is None or after is None:
        return None
    ran, waited = (max(0, end - start) for start, end in zip(before, after, strict=True))
    return waited / (ran + waited) if ran + waited else 0.0


def _open_runtime(model: PyTorchModel | ArtifactModel, *, threads: int) -> tuple[Runtime, str]:
    """Return the open model and its device; each worker imports only the backend that it needs."""
    if isinstance(model, ArtifactModel):
        from motivnet.artifact import open_artifact
        from motivnet_engines.runtimes.registry import ON_GPU, open_backend

        opened = open_backend(model.runtime, open_artifact(model.folder), threads=threads)
        if model.runtime in ON_GPU:
            return opened, "cuda"
        return opened, "webgpu" if model.runtime == "web-webgpu" else "cpu"
    runtime = open_pytorch(
        None if model.checkpoint is None else Path(model.checkpoint),
        model.config,
        ema=model.ema,
        compute=model.compute,
        compiler=model.compiler,
        device=model.device,
        threads=threads,
    )
    if model.device == "cpu":
        return runtime, "cpu"
    import torch

    return runtime, torch.cuda.get_device_name(model.device)


def main() -> None:
    """Run a worker."""
    serve(connect_to_parent())


if __name__ == "__main__":
    main()
