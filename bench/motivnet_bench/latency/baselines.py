"""The PyTorch baselines: what a user would run instead, and which of them are measured unasked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from motivnet.errors import ConfigError
from motivnet_engines.system.machine import HALF_INSTRUCTIONS, read_processor

if TYPE_CHECKING:
    from motivnet_bench.target import TorchCompiler, TorchCompute

BASELINES: dict[str, tuple[TorchCompute, TorchCompiler | None]] = {
    "fp32": ("float32", None),
    "bf16": ("bfloat16", None),
    "fp16": ("float16", None),
    "compile-fp32": ("float32", "inductor"),
    "compile-bf16": ("bfloat16", "inductor"),
    "compile-fp16": ("float16", "inductor"),
    "torch-tensorrt-fp32": ("float32", "torch_tensorrt"),
    "torch-tensorrt-bf16": ("bfloat16", "torch_tensorrt"),
    "torch-tensorrt-fp16": ("float16", "torch_tensorrt"),
}
"""The precision and the compiler of each."""


def check_baselines(names: Iterable[str]) -> None:
    """Check that there are baselines of these names.

    Raises:
        ConfigError: If not.
    """
    for name in names:
        if name not in BASELINES:
            raise ConfigError(f"no baseline is called {name!r}; choose from {', '.join(BASELINES)}")


def row_name(baseline: str) -> str:
    """Return the name of a baseline's row."""
    return baseline if baseline.startswith("torch-") else f"pytorch-{baseline}"


def default_baselines(
    *, device: str, precision: str, flags: frozenset[str] | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the baselines that are measured unasked, and a line for what is left out.

    On a processor these are FP32 and the 16-bit precision that it has instructions for. On a GPU
    they are FP32 and the artifact's 16-bit precision, which is also compiled.

    Args:
        device: Where PyTorch runs.
        precision: The artifact's.
        flags: Of the processor; None for this one's.
    """
    if device != "cpu":
        return _gpu_baselines(device, precision)
    found = read_processor().flags if flags is None else flags
    for name in ("bf16", "fp16"):
        if found.intersection(HALF_INSTRUCTIONS[BASELINES[name][0]]):
            return ("fp32", name), (_not_compiled(name),)
    return ("fp32",), (
        "PyTorch BF16 is left out: this processor has no instructions for it, and emulates it so "
        "slowly that a call may take minutes; --baseline bf16 measures it all the same",
        _not_compiled("fp32"),
    )


def _not_compiled(precision: str) -> str:
    return (
        "compiled PyTorch is left out: on a processor it compiles for a minute; "
        f"--baseline compile-{precision} measures it"
    )


def _gpu_baselines(device: str, precision: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    from motivnet.model.runtime import missing_for_compiler

    names: list[str] = ["fp32", "bf16" if precision == "bf16" else "fp16"]
    reason = missing_for_compiler("inductor", device)
    if reason is None:
        names.append("compile-bf16" if precision == "bf16" else "compile-fp16")
    if missing_for_compiler("torch_tensorrt", device) is None:
        names.append("torch-tensorrt-bf16" if precision == "bf16" else "torch-tensorrt-fp16")
    return tuple(names), () if reason is None else (f"compiled PyTorch is left out: {reason}",)
