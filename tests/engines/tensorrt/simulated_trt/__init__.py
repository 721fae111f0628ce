"""A stand-in for TensorRT whose engine files are ONNX: it has TensorRT's names, and computes with
ONNX Runtime.

It proves the plumbing around an engine (shapes, byte counts, order, lifetime, threads) and nothing
about TensorRT itself. Its contexts enqueue a kernel on the fake CUDA driver, which reads and writes
"device" memory when the stream is awaited. It is as strict as the documentation: objects die in
order and inside a CUDA context, one thread at a time is in a context or makes one, a
version-compatible engine has a runtime of its own version, a shape runs plain before it is
captured, and a captured graph whose context was changed gives NaN. What it finds wrong is in
``mistakes``; objects alive are counted in ``alive``.
"""

from __future__ import annotations

from .engine import BUDGET, engine_from_onnx, write_lean_library
from .names import DataType, EngineInvalidityDiagnostics, EngineValidity
from .simulation import Simulation

__all__ = [
    "BUDGET",
    "DataType",
    "EngineInvalidityDiagnostics",
    "EngineValidity",
    "Simulation",
    "engine_from_onnx",
    "write_lean_library",
]
