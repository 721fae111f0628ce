"""A stand-in for the module that Triton's Python backend gives to its models, written from its
documentation.

It holds what our preprocessing calls and no more; nothing here is Triton's.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class TritonError:
    INVALID_ARG = 3

    def __init__(self, message: str, code: int) -> None:
        self.message, self.code = message, code


class Tensor:
    def __init__(self, name: str, array: np.ndarray) -> None:
        self.name, self._array = name, array

    def as_numpy(self) -> np.ndarray:
        return self._array


class InferenceResponse:
    def __init__(
        self, output_tensors: list[Tensor] | None = None, error: TritonError | None = None
    ) -> None:
        self.output_tensors, self.error = output_tensors or [], error


class Request:
    """Named as in our tests alone: Triton makes its requests itself."""

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = {tensor.name: tensor for tensor in tensors}


def get_input_tensor_by_name(request: Any, name: str) -> Tensor | None:
    found: Tensor | None = request.tensors.get(name)
    return found
