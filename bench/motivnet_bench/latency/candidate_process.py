"""A candidate in its process, with what it has done so far."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from motivnet_bench.latency.candidates import Candidate
from motivnet_bench.latency.memory import free_memory, lack_of_memory
from motivnet_bench.latency.protocol import (
    Memory,
    MemoryRequest,
    Opened,
    OpenRequest,
    Turn,
    TurnRequest,
)
from motivnet_bench.latency.worker_process import WorkerFailedError, WorkerProcess

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a candidate did: seconds of its calls by round, or the one-line reason why it fell out.

    Without an ``error``, ``opened`` is set and no round is empty.
    """

    candidate: Candidate
    opened: Opened | None
    rounds: tuple[tuple[float, ...], ...]
    peak_memory: int
    error: str | None


class Contestant:
    """A candidate and its worker process, a context manager that ends it.

    A failure ends the process at once, so that it frees its memory; later requests are then
    ignored.
    """

    def __init__(self, candidate: Candidate, *, threads: int, timeout: float) -> None:
        self.candidate = candidate
        self._opened: Opened | None = None
        self._rounds: list[tuple[float, ...]] = []
        self._peak_memory = 0
        self._error: str | None = None
        self._threads = threads
        self._process = WorkerProcess(threads=threads, timeout=timeout)

    @property
    def process_id(self) -> int:
        """The worker's process id."""
        return self._process.process_id

    def open(self, array: Path, *, warmup: int) -> None:
        """Opens the model, makes the first call and ``warmup`` more on the ``.npy`` input."""
        request = OpenRequest(
            model=self.candidate.model, input=str(array), threads=self._threads, warmup=warmup
        )
        if (reason := lack_of_memory(self.candidate.config, free=free_memory())) is not None:
            return self._fail(reason)
        try:
            self._opened = self._process.ask(request, Opened)
        except WorkerFailedError as error:
            self._fail(str(error))

    def turn(self, duration: float) -> None:
        """Measures one more round of ``duration`` seconds."""
        if self._error is not None:
            return
        try:
            self._rounds.append(self._process.ask(TurnRequest(duration=duration), Turn).seconds)
        except WorkerFailedError as error:
            self._fail(str(error))

    def finish(self) -> Outcome:
        """Takes the peak memory, ends the process, and tells what the candidate did."""
        self._take_peak_memory()
        self._process.close()
        return Outcome(
            candidate=self.candidate,
            opened=self._opened,
            rounds=tuple(self._rounds),
            peak_memory=self._peak_memory,
            error=self._error,
        )

    def _take_peak_memory(self) -> None:
        if self._error is not None:
            return
        try:
            self._peak_memory = self._process.ask(MemoryRequest(), Memory).peak
        except WorkerFailedError as error:
            self._fail(str(error))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.close()

    def _fail(self, reason: str) -> None:
        logger.debug("%s fell out: %s", self.candidate.name, reason)
        self._error = reason
        self._process.close()
