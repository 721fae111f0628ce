"""A candidate in its own process, paused except while it opens or is measured."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from motivnet.child_process import ChildProcess, describe_exit, last_line
from motivnet.config import ModelConfig
from motivnet.schema import SchemaError
from motivnet.terminal import announced
from motivnet_bench.latency.candidates import Candidate
from motivnet_bench.latency.statistics import Measurement
from motivnet_bench.latency.worker import (
    FEWER,
    ArtifactModel,
    Failed,
    Measure,
    Measured,
    Open,
    Opened,
    Stage,
)
from motivnet_engines.runtimes.registry import IN_BROWSER
from motivnet_engines.system.machine import read_machine

_BROWSER_GRACE = 10.0
"""Seconds for a browser, whose processes are in a group of their own, to end and tidy up."""

INTERRUPTED = "interrupted before its first round"

logger = logging.getLogger(__name__)


class CandidateProcess:
    """A candidate and its process: a context manager that ends it.

    A failure ends the process at once, which frees its memory; later requests are then ignored.
    While it is not used the process is stopped with SIGSTOP: threads that spin while they wait for
    work would take the processor from the others.

    Args:
        threads: Also the size of thread pools that read it from the environment.
        timeout: Seconds that a request may take.
    """

    def __init__(self, candidate: Candidate, *, threads: int, timeout: float) -> None:
        self._measurement = Measurement(candidate=candidate)
        self._threads = threads
        self._timeout = timeout
        self._child: ChildProcess | None = None

    @property
    def _is_browser(self) -> bool:
        model = self._measurement.candidate.model
        return isinstance(model, ArtifactModel) and model.runtime in IN_BROWSER

    @property
    def process_id(self) -> int | None:
        """The id of the process, while there is one."""
        return None if self._child is None else self._child.process_id

    def open(self, inputs: Path, *, warmup: int, config: ModelConfig) -> None:
        """Start the process and open the model, unless there is too little memory for it.

        Args:
            inputs: An ``.npy`` file, in a temporary folder that the process may use too.
            warmup: Calls after the first.
        """
        if (reason := lack_of_memory(config, free=read_machine().memory_available)) is not None:
            self._fail(reason)
            return
        threads = str(self._threads)
        self._child = ChildProcess(
            "motivnet_bench.latency.worker",
            environment={
                "OMP_NUM_THREADS": threads,
                "MKL_NUM_THREADS": threads,
                "TORCHINDUCTOR_COMPILE_THREADS": threads,
                # A compiler's cache would hide its time, and lies where others may write.
                "TORCHINDUCTOR_CACHE_DIR": str(inputs.parent / "inductor"),
                "TMPDIR": str(inputs.parent),
            },
            grace=_BROWSER_GRACE if self._is_browser else 0.0,
        )
        model = self._measurement.candidate.model
        request = Open(model=model, inputs=str(inputs), threads=self._threads, warmup=warmup)
        self._measurement.opened = self._ask(request, Opened | Failed | Stage, "starting")

    def measure(self, seconds: float, *, title: str = "measuring") -> None:
        """Measure one more round; ``title`` names it in the line that announces a long one."""
        request = Measure(seconds=seconds)
        measured: Measured | None = self._ask(request, Measured | Failed, title)
        if measured is not None:
            self._measurement.rounds.append(measured.calls)
            if measured.waiting is not None:
                self._measurement.waiting.append(measured.waiting)
            self._measurement.peak_memory = measured.peak_memory

    def finish(self) -> Measurement:
        """End the process and return what was measured, also before its first round."""
        self.close()
        if not self._measurement.rounds and self._measurement.error is None:
            self._measurement.error = INTERRUPTED
        return self._measurement

    def close(self) -> None:
        """End the process; a second call does nothing."""
        if self._child is not None:
            if self._is_browser:
                self._child.signal(signal.SIGCONT)  # to end its browser
            self._child.close()
            self._child = None

    def __enter__(self) -> CandidateProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: Open | Measure, kind: Any, stage: str) -> Any:
        """Return the answer of the process, which runs only meanwhile; None after a failure."""
        child = self._child
        if child is None:
            return None
        child.signal(signal.SIGCONT)
        child.messages.send(request)
        try:
            reply = self._receive(child, kind, stage)
        except TimeoutError:
            return self._fail(f"no answer within {self._timeout:g} s; --timeout allows more")
        except SchemaError as error:
            return self._fail(f"the answer of its process is not valid: {error}")
        if reply is None:
            status, line = child.wait(), last_line(child.output())
            reason = f"its process {describe_exit(status)}{': ' * bool(line)}{line}"
            return self._fail(f"{reason}, {FEWER}" if status == -signal.SIGKILL else reason)
        if isinstance(reply, Failed):
            return self._fail(reply.error)
        child.signal(signal.SIGSTOP)
        with contextlib.suppress(ChildProcessError):  # it has ended
            # Its threads stop one after the other: wait for the last one.
            os.waitid(os.P_PID, child.process_id, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return reply

    def _receive(self, child: ChildProcess, kind: Any, stage: str) -> Any:
        """Return the next answer; each stage before it that lasts long is announced."""
        deadline = time.monotonic() + self._timeout
        while True:
            with announced(f"{self._measurement.candidate.name}: {stage}"):
                left = max(0.0, deadline - time.monotonic())
                reply = child.messages.receive(kind, timeout=left)
            if not isinstance(reply, Stage):
                return reply
            stage = reply.name

    def _fail(self, reason: str) -> None:
        logger.debug("%s failed: %s", self._measurement.candidate.name, reason)
        self._measurement.error = reason
        self.close()


def lack_of_memory(config: ModelConfig, *, free: int | None) -> str | None:
    """Return why a model should not be opened with so many bytes free; None if it can be.

    All candidates stay open at the same time. A candidate that is refused costs only its own row;
    without memory, the system may kill any process of the machine.
    """
    needed = 2 * 4 * config.parameters  # FP32 weights, those of the file beside those in use
    if free is None or free >= needed:
        return None
    return f"needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free, {FEWER}"
