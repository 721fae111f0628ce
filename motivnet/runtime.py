"""The interface of every runtime: named arrays in, named arrays out.

A Protocol and not a base class, so that the PyTorch model, ONNX Runtime, OpenVINO and a user's
runtime do not import one another, while parity, accuracy and latency use the same code for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import InputError

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """A named tensor; a free dimension is None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def accepts(self, array: NDArray[Any]) -> bool:
        """Return whether an array has this dtype and a fitting shape, with no empty dimension."""
        return (
            array.dtype == np.dtype(self.dtype)
            and array.ndim == len(self.shape)
            and all(
                have > 0 and want in (None, have)
                for have, want in zip(array.shape, self.shape, strict=True)
            )
        )

    def __str__(self) -> str:
        names = ("batch", "height", "width", *["any"] * len(self.shape))
        sides = (names[axis] if side is None else str(side) for axis, side in enumerate(self.shape))
        return f"{self.dtype} ({', '.join(sides)})"


@runtime_checkable
class Runtime(Protocol):
    """An open model."""

    @property
    def name(self) -> str:
        """The name that selects it, such as ``onnxruntime`` or ``openvino``."""

    @property
    def compute(self) -> str:
        """The dtype in which it multiplies matrices: ``float32``, ``bfloat16`` or ``float16``.

        A runtime in ``float32`` shows that an exported graph is the model: if it fails the parity
        check, so does the export.
        """

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What ``run`` takes."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What ``run`` returns."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return every output by name.

        Raises:
            InputError: If the arrays do not fit ``inputs``.
        """

    def close(self) -> None:
        """Free the model; a second call does nothing."""

    def __enter__(self) -> Runtime: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def check_inputs(inputs: Arrays, specs: tuple[TensorSpec, ...]) -> None:
    """Check that arrays fit the specifications.

    Raises:
        InputError: Naming what is missing, unknown or misshaped.
    """
    wanted = {spec.name for spec in specs}
    if set(inputs) != wanted:
        raise InputError(f"the inputs are {sorted(wanted)}, not {sorted(inputs)}")
    for spec in specs:
        array = inputs[spec.name]
        if not isinstance(array, np.ndarray):
            raise InputError(
                f"input {spec.name!r} must be a NumPy array, not {type(array).__name__}"
            )
        if not spec.accepts(array):
            raise InputError(f"input {spec.name!r} must be {spec}, not {array.dtype} {array.shape}")
