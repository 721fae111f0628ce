"""What OpenVINO made of a graph: the dtypes of its matrix products, and whether attention is fused.

Counted in the compiled model, not in the graph: a plugin may compute a quantised layer in FP32, and
a quantised attention may fall apart into products whose scores go through memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_LINEAR = ("FullyConnected", "Convolution")
_DTYPES = {
    "f32": "float32",
    "bf16": "bfloat16",
    "f16": "float16",
    "i8": "int8",
    "u8": "int8",  # the activations; the weights are signed
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledLayers:
    """The layers of a compiled model.

    Attributes:
        linear: Number of linear layers and convolutions by the dtype that they multiply in.
        split_attentions: Number of attentions that are several layers. A fused one is a single
            layer; the softmax of a split one stands alone, and nothing else has a softmax.
    """

    linear: dict[str, int]
    split_attentions: int

    @property
    def compute(self) -> str:
        """int8 if linear layers multiply in it, else the dtype of most.

        Those of the encoder are few in a small model, and nearly all of the work.
        """
        if self.linear.get("int8"):
            return "int8"
        return max(self.linear, key=lambda dtype: self.linear[dtype], default="float32")


def layers_of(compiled: Any) -> CompiledLayers:
    """Return the layers of a model that OpenVINO compiled."""
    operations = compiled.get_runtime_model().get_ops()
    return layers_from_pairs(map(_type_and_precision, operations))


def layers_from_pairs(pairs: Iterable[tuple[str, str]]) -> CompiledLayers:
    """Count layers that are given by OpenVINO's names for their type and precision."""
    linear: Counter[str] = Counter()
    softmaxes = 0
    for kind, precision in pairs:
        if kind in _LINEAR:
            linear[_DTYPES.get(precision, precision)] += 1
        softmaxes += kind == "Softmax"
    return CompiledLayers(linear=dict(sorted(linear.items())), split_attentions=softmaxes)


def _type_and_precision(operation: Any) -> tuple[str, str]:
    info = operation.get_rt_info()
    return tuple(
        info[key].astype(str) if key in info else "" for key in ("layerType", "runtimePrecision")
    )  # type: ignore[return-value]
