"""Compiles the fake CUDA driver, and controls it from inside a process that runs on it.

How to write a test that runs on it
-----------------------------------
Put it into ``tests/engines/tensorrt/simulated/test_<something>.py`` and write it like any other
test; take the fixture ``fake`` (a `FakeDriver`) and, to run once with each implementation,
``memory_name`` ("cuda-bindings", "pycuda"). ``simulated/conftest.py`` runs the selected tests of
that folder in one child ``pytest`` in which ``libcuda.so.1`` is the fake, and reports each of them
under its own name, with its own traceback. ``pytest path::name -k ...`` works as usual. Fixtures of
``tests/conftest.py`` (``fp16_artifact`` ...) are made in the child.

After every test ``fake`` asserts that nothing is alive and that no mistake was seen; a test that
plants one takes it
first: ``assert "freed" in fake.take_violations()[0]``, and ``fake.forget()`` where something is
left on purpose.

What the fake does
------------------
* Copies, fills, events, host functions and kernels wait in their stream until something waits for
  them
  (synchronising the stream, an event or the context; each query makes one step of progress).
* New device and pinned memory is 0xFF bytes (NaN), freed memory 0xDD, and the target of a queued
  copy to the host
  0xEE: a dropped synchronisation can never show the right result, not even that of the run before.
* Freeing what a queued operation needs, using freed memory, copying past an end or from memory that
  is not
  pinned, destroying a stream with work in it, releasing the primary context with anything alive or
  while it is
  current: each is a violation, in words.
* Without a current context: CUDA_ERROR_INVALID_CONTEXT. Stacks of contexts are a thread's own.
* Capturing a stream records instead of queueing; to wait or to allocate meanwhile is
  CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED and spoils the capture.
* A kernel that raises fails its context for good, as on a device: every later call returns
  CUDA_ERROR_LAUNCH_FAILED.

A simulated engine enqueues its kernel with ``fake.launch_kernel(stream, function,
touches=[(address, bytes), ...])`` and reads and writes device memory inside it through
``fake.device_array(address, shape, dtype)``. The function runs in the thread that waits, with the
interpreter's lock, and must not call CUDA.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

SOURCES = Path(__file__).resolve().parent
LIBRARY = "libcuda.so.1"
MARK = "MOTIVNET_SIMULATED_CUDA"
"""Set, to the folder of the fake, in a process that runs on it."""

FLAGS = (
    "-std=c11",
    "-D_GNU_SOURCE",
    "-O1",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fPIC",
    "-fvisibility=hidden",
)

INVALID_VALUE, OUT_OF_MEMORY, INVALID_CONTEXT, LAUNCH_FAILED, NOT_SUPPORTED = 1, 2, 201, 719, 801

KERNEL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def cache_folder() -> Path:
    """Where what tests compile is kept between runs."""
    return Path(os.environ.get("MOTIVNET_TEST_CACHE", Path.home() / ".cache" / "motivnet-tests"))


def compiled() -> Path:
    """The folder of ``libcuda.so.1``, compiled by gcc unless these very sources already were."""
    sources = sorted(SOURCES.glob("*.[ch]"))
    digest = hashlib.sha256(
        b"".join(path.read_bytes() for path in sources) + repr(FLAGS).encode()
    ).hexdigest()
    folder = cache_folder() / f"fake-cuda-{digest[:16]}"
    if not (folder / LIBRARY).is_file():
        _compile([str(path) for path in sources if path.suffix == ".c"], folder)
    return folder


def _compile(sources: list[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / LIBRARY
        command = [
            "gcc",
            *FLAGS,
            "-pthread",
            "-shared",
            f"-Wl,-soname,{LIBRARY}",
            *sources,
            "-o",
            str(made),
        ]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"gcc does not compile the fake CUDA driver:\n{result.stderr}")
        made.replace(folder / LIBRARY)
    link = folder / "libcuda.so"  # what a linker looks for
    if not link.is_symlink():
        link.symlink_to(LIBRARY)


def environment() -> dict[str, str]:
    """The variables of a child process whose CUDA driver is the fake."""
    folder = str(compiled())
    libraries = [folder, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {**os.environ, MARK: folder, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}


class FakeDriver:
    """The fake in this process: its counts, its mistakes, and what it is told to do."""

    def __init__(self) -> None:
        assert MARK in os.environ, (
            "run through tests/engines/tensorrt/simulated, whose child process has the fake driver"
        )
        self.library = ctypes.CDLL(LIBRARY)
        self.library.fakeViolation.restype = ctypes.c_char_p
        self.library.fakeProblemWithAccess.restype = ctypes.c_char_p
        self.library.fakeProblemWithAccess.argtypes = [ctypes.c_uint64, ctypes.c_size_t]
        self.library.fakeCalls.restype = ctypes.c_long
        self.library.fakeSetMemoryLimit.argtypes = [ctypes.c_size_t]
        self.library.fakeLaunchKernel.argtypes = [
            ctypes.c_void_p,
            KERNEL,
            *[ctypes.c_void_p] * 3,
            ctypes.c_int,
        ]
        self.library.cuLaunchHostFunc.argtypes = [ctypes.c_void_p, HOST_FUNCTION, ctypes.c_void_p]
        self.library.cuStreamIsCapturing.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        self.kernel_errors: list[BaseException] = []
        self._functions: dict[int, tuple[Callable[[], object], bool]] = {}
        self._numbers = count(1)
        self._run_kernel = KERNEL(self._run)
        self._run_host_function = HOST_FUNCTION(self._run_and_forget)

    def live_allocations(self) -> int:
        return int(self.library.fakeLiveAllocations())

    def live_pinned(self) -> int:
        return int(self.library.fakeLivePinned())

    def live_streams(self) -> int:
        return int(self.library.fakeLiveStreams())

    def live_events(self) -> int:
        return int(self.library.fakeLiveEvents())

    def live_graphs(self) -> int:
        """Captured and executable ones together."""
        return int(self.library.fakeLiveGraphs())

    def queued_operations(self) -> int:
        return int(self.library.fakeQueuedOperations())

    def primary_retains(self) -> int:
        return int(self.library.fakePrimaryRetains())

    def context_stack_depth(self) -> int:
        """Of the calling thread."""
        return int(self.library.fakeContextDepth())

    def unpopped_contexts(self) -> int:
        """Over all threads, also those that have ended."""
        return int(self.library.fakeUnpoppedContexts())

    def calls(self, function: str) -> int:
        """Return how often a function, such as ``cuMemAlloc``, was called since the reset."""
        return int(self.library.fakeCalls(function.encode()))

    def set_memory_limit(self, size: int) -> None:
        """The bytes of device memory there are; 8 GiB at first."""
        self.library.fakeSetMemoryLimit(size)

    def set_device_count(self, devices: int) -> None:
        self.library.fakeSetDeviceCount(devices)

    def fail_next(self, function: str, code: int, *, after: int = 0) -> None:
        """Make one call of a function, such as ``cuMemAlloc``, fail: the next or a later one."""
        assert self.library.fakeFailNext(function.encode(), code, after)

    def violations(self) -> list[str]:
        """Every mistake seen since the reset."""
        found = int(self.library.fakeViolationCount())
        texts = [self.library.fakeViolation(index) for index in range(found)]
        return [text.decode() if text else "(too many to keep)" for text in texts]

    def take_violations(self) -> list[str]:
        """The mistakes so far, which the check after the test then no longer holds against it."""
        found = self.violations()
        self.library.fakeClearViolations()
        return found

    def live(self) -> dict[str, int]:
        """Everything alive, without the zeros."""
        counts = {
            "device allocations": self.live_allocations(),
            "pinned allocations": self.live_pinned(),
            "streams": self.live_streams(),
            "events": self.live_events(),
            "graphs": self.live_graphs(),
            "retains of the primary context": self.primary_retains(),
            "contexts not popped": self.unpopped_contexts(),
        }
        return {name: number for name, number in counts.items() if number}

    def assert_clean(self) -> None:
        """Nothing is alive and no mistake was seen."""
        found = [*self.violations(), *map(repr, self.kernel_errors)]
        found += [f"{number} {name} alive" for name, number in self.live().items()]
        assert not found, "; ".join(found)

    def forget(self) -> None:
        """Reset the driver: drop whatever is alive, mistakes and planted failures."""
        self.library.fakeReset()
        self.library.fakeSetDeviceCount(1)
        self.kernel_errors.clear()
        self._functions.clear()

    def launch_kernel(
        self,
        stream: int,
        function: Callable[[], object],
        *,
        touches: Iterable[tuple[int, int]] = (),
    ) -> int:
        """Enqueues a function as a kernel; ``touches`` are the (address, bytes) that it reads or
        writes.

        Returns CUDA's status. An exception of the function is kept in ``kernel_errors`` and fails
        the context.
        """
        ranges = list(touches)
        addresses = (ctypes.c_uint64 * len(ranges))(*(address for address, _ in ranges))
        sizes = (ctypes.c_size_t * len(ranges))(*(size for _, size in ranges))
        number = self._keep(stream, function)
        return int(
            self.library.fakeLaunchKernel(
                stream, self._run_kernel, number, addresses, sizes, len(ranges)
            )
        )

    def launch_host_function(self, stream: int, function: Callable[[], object]) -> int:
        """Enqueues a function by ``cuLaunchHostFunc``; returns CUDA's status."""
        return int(
            self.library.cuLaunchHostFunc(
                stream, self._run_host_function, self._keep(stream, function)
            )
        )

    def device_array(
        self, address: int, shape: tuple[int, ...], dtype: DTypeLike
    ) -> NDArray[np.generic]:
        """Device memory as an array, for a kernel that is running; a violation if it is not all
        alive.

        Raises:
            ValueError: If it is not all alive.
        """
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if problem := self.library.fakeProblemWithAccess(address, size):
            raise ValueError(f"a kernel touches {problem.decode()}")
        content = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        return content.view(dtype).reshape(shape)

    def _keep(self, stream: int, function: Callable[[], object]) -> int:
        """A number for the function, kept until it ran, or for good if a graph may run it again."""
        status = ctypes.c_int(0)
        self.library.cuStreamIsCapturing(stream, ctypes.byref(status))
        number = next(self._numbers)
        self._functions[number] = (function, status.value != 0)
        return number

    def _run(self, number: int) -> int:
        function, stays = self._functions[number]
        if not stays:
            del self._functions[number]
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - there is no Python above it to catch it
            self.kernel_errors.append(error)
            return 1
        return 0

    def _run_and_forget(self, number: int) -> None:
        self._run(number)
