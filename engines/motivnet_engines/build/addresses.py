"""Addresses that are the same in every run, so that one graph gives the same engine, byte for byte.

TensorRT-RTX numbers some symbols of an engine in the order in which they lie in memory: with the
kernel's address space randomisation about one build in ten numbers two of them the other way round.
So does what lies in memory before, from the length of a path to the order of a set; a thread of its
own begins with memory of its own.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_ADDR_NO_RANDOMIZE = 0x0040000
_ASK = 0xFFFFFFFF
_REFUSED = -1

T = TypeVar("T")


def restart_with_fixed_addresses() -> None:
    """Starts this program anew without randomisation; returns where it is off, or must not be
    switched off.

    Some containers forbid it. An engine built there is as good, but its bytes may differ from those
    of the next.
    """
    personality = ctypes.CDLL(None).personality
    personality.argtypes = [ctypes.c_ulong]
    now = personality(_ASK)
    if (
        now == _REFUSED
        or now & _ADDR_NO_RANDOMIZE
        or personality(now | _ADDR_NO_RANDOMIZE) == _REFUSED
    ):
        return
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606


def in_fresh_thread(function: Callable[[], T]) -> T:
    """What a function returns or raises, in a thread whose memory holds nothing yet."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(function).result()
