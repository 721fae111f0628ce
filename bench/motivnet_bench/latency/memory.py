"""Whether there is memory for one more candidate: all of them stay open at the same time."""

from __future__ import annotations

from motivnet.config import ModelConfig
from motivnet.errors import MissingDependencyError

try:
    import psutil
except ImportError as error:
    raise MissingDependencyError("psutil", extra="bench") from error

FP32_BYTES = 4
OPENING_FACTOR = 2.0
"""What opening a model takes at its peak, in sizes of its FP32 weights: those of the file beside those in use."""


def lack_of_memory(config: ModelConfig, *, free: int) -> str | None:
    """Why a model of these sizes should not be opened with so many bytes free; None where they are
    enough.

    Refused in time, a candidate costs its own row; out of memory, the system may kill any process
    of the machine.
    """
    needed = OPENING_FACTOR * FP32_BYTES * config.parameters
    if free >= needed:
        return None
    return f"needs about {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; measure fewer at once with --runtime"


def free_memory() -> int:
    """Bytes that processes can still get without swapping."""
    return int(psutil.virtual_memory().available)
