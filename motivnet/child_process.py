"""Child processes: isolated modules of this installation, and programs that run to their end.

A module may exchange messages with the process that started it: typed JSON values, one per line,
and not pickle, because what a parser made of a damaged file must not become code in the caller.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, overload

from motivnet import schema
from motivnet.printable import one_line

MAX_MESSAGE = 64_000_000
"""Bytes of one message; the longest are the times of all calls of a benchmark's round."""

_CHUNK = 1 << 16

T = TypeVar("T")


class Connection:
    """Messages to and from another process, over two file descriptors that it closes.

    Several threads may send; one may receive.
    """

    def __init__(self, reader: int, writer: int) -> None:
        self._reader = os.fdopen(reader, "rb", buffering=0)
        self._writer = os.fdopen(writer, "wb")
        self._unread = bytearray()
        self._lock = threading.Lock()

    def send(self, message: object) -> None:
        """Send a ``Schema``; what is not Unicode in it, as in a file name, becomes ``?``.

        If the other side is gone nothing happens: the next ``receive`` returns None.

        Raises:
            SchemaError: If the message holds NaN or infinity.
        """
        line = schema.encode(message, errors="replace", indent=None)
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._writer.write(line)
            self._writer.flush()

    @overload
    def receive(self, kind: type[T], *, timeout: float | None = None) -> T | None: ...
    @overload
    def receive(self, kind: UnionType, *, timeout: float | None = None) -> Any: ...
    def receive(self, kind: Any, *, timeout: float | None = None) -> Any:
        """Return the next message, or None if the other side has ended, even in the middle of one.

        Args:
            kind: A ``Schema`` class, or a union of tagged ones.
            timeout: Seconds to wait; without it, for as long as the other side runs.

        Raises:
            SchemaError: If it is not such a message, or is longer than ``MAX_MESSAGE``.
            TimeoutError: If it did not come in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        searched = 0
        while (end := self._unread.find(b"\n", searched)) < 0:
            searched = len(self._unread)
            if searched > MAX_MESSAGE:
                raise schema.SchemaError(f"a message is longer than {MAX_MESSAGE} bytes")
            if not self._is_readable(deadline):
                raise TimeoutError(f"no message within {timeout:g} s")
            if not (chunk := self._reader.read(_CHUNK)):
                return None
            self._unread += chunk
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return schema.decode(line, kind, max_bytes=MAX_MESSAGE)

    def has_input(self) -> bool:
        """Return whether a message, or the end of the connection, can be received now."""
        return bool(self._unread) or self._is_readable(time.monotonic())

    def close(self) -> None:
        """Close both directions; a second call does nothing."""
        self.end_sending()
        self._reader.close()

    def end_sending(self) -> None:
        """Tell the other side that nothing more comes."""
        with contextlib.suppress(BrokenPipeError):
            self._writer.close()

    def _is_readable(self, deadline: float | None) -> bool:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        return bool(select.select([self._reader], [], [], left)[0])


class ChildProcess:
    """A module of this installation in its own process: a context manager that ends it.

    The module begins with ``connect_to_parent``. It runs in its own session, so that Ctrl-C reaches
    the parent alone, which then ends it; the kernel ends it if the parent dies. At the end of the
    block its input is closed, which asks it to stop; after ``grace`` seconds it is killed with its
    own children.

    Args:
        environment: Variables beside those of this process.
        grace: Seconds in which it may end by itself.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        grace: float = 0.0,
    ) -> None:
        self._grace = grace
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        child_reader, writer = os.pipe()
        reader, child_writer = os.pipe()
        self.messages = Connection(reader, writer)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this Python
                isolated_module(module, f"{child_writer}:{os.getpid()}", *arguments),
                stdin=child_reader,
                stdout=self._printed,
                stderr=self._printed,
                pass_fds=(child_writer,),
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        except BaseException:
            self.messages.close()
            self._printed.close()
            raise
        finally:
            os.close(child_reader)
            os.close(child_writer)

    @property
    def process_id(self) -> int:
        """The process id, which is also that of its process group."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its own children, unless it has ended."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def wait(self) -> int:
        """Wait for the end of the process and return its status, below 0 for a signal."""
        return self._process.wait()

    def output(self) -> str:
        """Return the end of what the process has printed on standard output and standard error."""
        size = self._printed.seek(0, os.SEEK_END)
        self._printed.seek(max(0, size - _CHUNK))
        return self._printed.read().decode(errors="replace")

    def close(self) -> None:
        """End the process, whatever it does; a second call does nothing."""
        try:
            self.messages.end_sending()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=self._grace)
        finally:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self.messages.close()
            self._printed.close()

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect_to_parent() -> Connection:
    """Return the connection of a module that ``ChildProcess`` started to its parent.

    Its arguments are in ``sys.argv[1:]`` afterwards. What it prints goes to the parent's
    ``output()``. It dies with its parent: at once on Linux, elsewhere when it next receives.
    """
    writer, parent = map(int, sys.argv.pop(1).split(":"))
    if (prctl := getattr(ctypes.CDLL(None), "prctl", None)) is not None:  # Linux alone has it
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it died before the kernel was asked
        os.kill(os.getpid(), signal.SIGKILL)
    return Connection(sys.stdin.fileno(), writer)


def describe_exit(status: int) -> str:
    """Return how a process ended, to follow its name: ``ended with status 3``."""
    if status >= 0:
        return f"ended with status {status}"
    number = signal.Signals(-status)
    hint = ", most often because the memory ran out" if number == signal.SIGKILL else ""
    return f"was ended by {number.name}{hint}"


def last_line(output: str) -> str:
    """Return the last line of a process's output that is not blank, or nothing."""
    return next((one_line(line) for line in reversed(output.split("\n")) if line.strip()), "")


def isolated_module(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of this installation isolated (``python -I``).

    A folder that was downloaded may hold a ``json.py`` or a ``sitecustomize.py``, which ``python
    -m`` would import. Isolated means without the working directory, ``PYTHON*`` variables and the
    user's site-packages. An installation may need the latter two, so the child gets the search path
    of this process before it imports the module. Import hooks are not passed on: editable
    installations work if they are a folder in a ``.pth`` file, as ours is.
    """
    program = (
        "import runpy, sys\n"
        f"sys.path[:] = {search_path()!r}\n"
        "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
    )
    return [sys.executable, "-I", "-c", program, module, *arguments]


def search_path() -> list[str]:
    """Return ``sys.path`` without the working directory, unless this toolkit runs from there."""
    try:
        unsafe = {Path.cwd()}
    except FileNotFoundError:  # it was removed, so nothing can be in it
        unsafe = set()
    unsafe -= _own_folders()
    folders = [entry for entry in sys.path if Path(entry).is_absolute()]
    return [entry for entry in folders if Path(entry).resolve() not in unsafe]


def _own_folders() -> set[Path]:
    """Return the folders that the packages of this toolkit were imported from."""
    own = [module for name, module in sys.modules.items() if re.fullmatch("motivnet[a-z_]*", name)]
    return {Path(module.__file__).resolve().parents[1] for module in own if module.__file__}


def run_to_end(
    command: Sequence[str | Path], *, folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program and return what it printed and how it ended.

    It has ended before any error, Ctrl-C included, leaves this function: ``subprocess.run`` kills
    it too but does not wait, so that it could write into a folder that is being removed.

    Args:
        folder: Its working directory: not the caller's, where it could read files that are not
            meant for it.
    """
    with subprocess.Popen(  # noqa: S603 - the callers choose the program
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
    ) as process:
        try:
            output, errors = process.communicate()
        except BaseException:
            process.kill()
            process.wait()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
