"""The fake driver's C calls with their pointers filled in."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

NON_BLOCKING = 1


class Cuda:
    """The C calls with their pointers filled in; each returns its status, or the value."""

    def __init__(self, fake: Any) -> None:
        self.library = fake.library
        self.fake = fake

    def call(self, name: str, *arguments: object) -> int:
        return int(getattr(self.library, name)(*arguments))

    def made(self, name: str, *arguments: object) -> int:
        out = ctypes.c_void_p()
        assert self.call(name, ctypes.byref(out), *arguments) == 0, name
        return out.value or 0

    def stream(self, flags: int = NON_BLOCKING) -> int:
        return self.made("cuStreamCreate", flags)

    def device_memory(self, size: int = 64) -> int:
        return self.made("cuMemAlloc_v2", ctypes.c_size_t(size))

    def pinned(self, size: int = 64) -> tuple[int, np.ndarray]:
        address = self.made("cuMemHostAlloc", ctypes.c_size_t(size), 0)
        return address, np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def to_device(self, device: int, host: int, stream: int, size: int = 64) -> int:
        return self.call(
            "cuMemcpyHtoDAsync_v2", *map(ctypes.c_void_p, (device, host, size, stream))
        )

    def to_host(self, host: int, device: int, stream: int, size: int = 64) -> int:
        return self.call(
            "cuMemcpyDtoHAsync_v2", *map(ctypes.c_void_p, (host, device, size, stream))
        )

    def wait(self, stream: int) -> int:
        return self.call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def query(self, stream: int) -> int:
        return self.call("cuStreamQuery", ctypes.c_void_p(stream))

    def record(self, event: int, stream: int) -> int:
        return self.call("cuEventRecord", ctypes.c_void_p(event), ctypes.c_void_p(stream))
