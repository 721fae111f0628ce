"""Half precision as tensor cores compute it, in FP32 arithmetic.

They multiply half operands, accumulate in FP32 and round the result. PyTorch's own half arithmetic
does the same, and where a processor has no instructions for it takes five to thirty times as long
as FP32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_HALF = (torch.float16, torch.bfloat16)
_ROWS = 256


class SimulatedHalf(TorchFunctionMode):
    """Inside it linear layers, convolutions and attention of half tensors run in FP32.

    Their operands and results are rounded to half, and so are the probabilities of attention before
    they are multiplied with the values (FlashAttention-2, Dao 2023, arXiv 2307.08691). Every other
    operator runs as it is: PyTorch computes elementwise ones in FP32 and rounds the result.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one of PyTorch's functions, in FP32 if it multiplies half matrices."""
        run = _MULTIPLY.get(func)
        if run is None or args[0].dtype not in _HALF:
            return func(*args, **(kwargs or {}))
        return run(*args, **(kwargs or {}))


def _linear(tensor: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    result = functional.linear(tensor.float(), weight.float(), _float(bias))
    return result.to(tensor.dtype)


def _conv2d(image: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any) -> Tensor:
    result = functional.conv2d(image.float(), weight.float(), _float(bias), *args)
    return result.to(image.dtype)


def _attention(query: Tensor, key: Tensor, value: Tensor, *, scale: float) -> Tensor:
    """Map three of ``(B, heads, N, dim)`` to one, some queries of a head at a time.

    All N x N scores of an image would take gigabytes, and those of a head leave the cache.
    """
    mixed = torch.empty_like(query)
    for index in range(query.shape[0] * query.shape[1]):
        at = divmod(index, query.shape[1])
        keys, values = key[at].float().T, value[at].float()
        parts = torch.split(query[at], _ROWS), torch.split(mixed[at], _ROWS)
        for rows, out in zip(*parts, strict=True):
            scores = (rows.float() @ keys).mul_(scale)  # (rows, N)
            weights = scores.sub_(scores.amax(dim=-1, keepdim=True)).exp_()
            total = weights.sum(dim=-1, keepdim=True)  # (rows, 1)
            out.copy_(weights.to(query.dtype).float() @ values / total)
    return mixed


def _float(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.float()


_MULTIPLY: dict[Callable[..., Any], Callable[..., Tensor]] = {
    functional.linear: _linear,
    functional.conv2d: _conv2d,
    functional.scaled_dot_product_attention: _attention,
}
