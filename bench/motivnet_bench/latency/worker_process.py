"""A worker seen from the benchmark: asked with a time limit, stopped between its turns, ended in every case."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import time
from types import TracebackType
from typing import Self, TypeVar

from motivnet.child_process import isolated_module
from motivnet.strict_json import StrictJSONError
from motivnet_bench.latency.protocol import MAX_LINE, Failed, Reply, Request, decode_reply, encode

_CHUNK = 1 << 16
_STDERR_TAIL = 4000

AnyReply = TypeVar("AnyReply", bound=Reply)


class WorkerFailedError(Exception):
    """A candidate failed, died or fell silent; the text is one line, the reason in its row."""


class WorkerProcess:
    """A child process for one candidate; a context manager that kills it.

    It has its own session, so that Ctrl-C reaches the benchmark alone, which then ends its workers.
    Between its turns it is stopped with SIGSTOP: threads that spin while they wait for work would
    take the processor from the others.

    Args:
        threads: Size of the thread pools that read the environment.
        timeout: Seconds that a request may take.
    """

    def __init__(self, *, threads: int, timeout: float) -> None:
        self._timeout = timeout
        self._pending = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        self._process = subprocess.Popen(  # noqa: S603  # this Python
            isolated_module("motivnet_bench.latency.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
            start_new_session=True,
        )

    def ask(self, request: Request, reply_type: type[AnyReply]) -> AnyReply:
        """The worker's reply; the worker runs only meanwhile.

        Raises:
            WorkerFailedError: If it answers with an error, dies, or takes longer than the time
            limit.
        """
        self._signal(signal.SIGCONT)
        try:
            reply = self._exchange(request)
        finally:
            self._stop()
        if isinstance(reply, Failed):
            raise WorkerFailedError(reply.error)
        if not isinstance(reply, reply_type):
            raise WorkerFailedError(f"the worker answered with {reply.kind!r}")
        return reply

    def close(self) -> None:
        """Kills the process, stopped or not; a second call does nothing."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what a dead worker never read
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def process_id(self) -> int:
        """The child's process id."""
        return self._process.pid

    def _exchange(self, request: Request) -> Reply:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(encode(request))
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise WorkerFailedError(self._cause_of_death()) from error
        try:
            return decode_reply(self._read_line(time.monotonic() + self._timeout))
        except StrictJSONError as error:
            raise WorkerFailedError(f"the worker's answer is not valid: {error}") from error

    def _read_line(self, deadline: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._pending and len(self._pending) <= MAX_LINE:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise WorkerFailedError(
                    f"no answer within {self._timeout:g} s; --timeout allows more"
                )
            chunk = os.read(descriptor, _CHUNK)
            if not chunk:
                raise WorkerFailedError(self._cause_of_death())
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _cause_of_death(self) -> str:
        status = self._process.wait()
        if status == -signal.SIGKILL:
            return "its process was killed (SIGKILL), as the system does when memory runs out"
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return f"its process ended {how}{self._last_words()}"

    def _last_words(self) -> str:
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _STDERR_TAIL))
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        spoken = [" ".join(line.split()) for line in lines if line.strip()]
        return f": {spoken[-1][:200]}" if spoken else ""

    def _stop(self) -> None:
        """Stops the worker and waits until it has: the signal alone reaches its threads one after the other."""
        self._signal(signal.SIGSTOP)
        if self._process.poll() is None:
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)
