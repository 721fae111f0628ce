"""The layers of a compiled engine, from the builder's log or from the engine inspector's JSON.

The log needs no GPU. Keys differ between versions, so a missing one is never an error here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from motivnet.errors import EngineError

LayerRole = Literal["matrix", "fused-attention", "other"]
UNKNOWN = "unknown"
"""A dtype that TensorRT does not give, such as in "N/A due to dynamic shapes"."""

LIST_HEADING = "Layers:\n"
"""Begins the message of the builder's log with every layer of an engine."""

_KEY = re.compile(
    r"(?:^|, )(Name|LayerType|Inputs|Constants|Outputs|TacticName|StreamId|Metadata): "
)
_TENSOR = re.compile(r"Dimensions: \[([^\]]*)\](.*?)(?=\{ Name: |$)")
_DATA_TYPE = re.compile(r"Data[tT]ype: ([^,}\]]*)")
_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]]*)\]")

_MATRIX_KINDS = ("gemm", "conv", "correlation", "matrixmultiply", "fullyconnected")
"""Parts of layer types that multiply matrices, in lower case and without underscores."""
_MATRIX_FUSION = re.compile(r"Fc(?![a-z])|(?i:gemm)|Conv(?![a-z])")
"""A fused kernel is named after its operations: ``__myl_FcAddRelu``."""
_ATTENTION = re.compile(r"(?<![A-Za-z])(?i:f?mha)(?![a-z])|(?i:flash_?attention)")
"""As in ``_gemm_mha_v2``, ``fmha_v2_flash_attention_fp16_...`` or ``fmhaSm100aKernel_...``.

Never the bare word ``attention``: unfused layers keep the node's name.
"""

_DTYPE_MARKS = (
    ("bfloat16", "bfloat16"),
    ("bf16", "bfloat16"),
    ("float8", "float8e4m3fn"),
    ("fp8", "float8e4m3fn"),
    ("e4m3", "float8e4m3fn"),
    ("fp4", "float4e2m1"),
    ("fp16", "float16"),
    ("float16", "float16"),
    ("half", "float16"),
    ("fp32", "float32"),
    ("float", "float32"),
    ("uint8", "uint8"),
    ("int8", "int8"),
    ("int4", "int4"),
    ("int64", "int64"),
    ("int32", "int32"),
    ("bool", "bool"),
)
"""Words in a tensor's format; "BFloat16" before "Float" and "UInt8" before "Int8"."""

_TACTIC_MARKS = (
    ("bf16bf16", "bfloat16"),
    ("e4m3", "float8e4m3fn"),
    ("i8i8", "int8"),
    ("f16f16", "float16"),
    ("h16816", "float16"),
    ("tf32", "float32"),
    ("f32f32", "float32"),
)
"""How kernels name the dtypes that they multiply.

With a free batch TensorRT may give no other format.
"""

_PRODUCT_BYTES = {
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "float8e4m3fn": 1,
    "int8": 1,
    "float4e2m1": 0.5,
    "int4": 0.5,
}
"""The dtypes that matrices are multiplied in; others are pixels, indices and masks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledTensor:
    """An input or output of a layer: ONNX's name of its dtype, and its shape with -1 if free."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledLayer:
    """One kernel of an engine; ``origins`` are the ONNX nodes that became it."""

    name: str
    kind: str
    tactic: str
    inputs: tuple[CompiledTensor, ...]
    constants: tuple[CompiledTensor, ...]
    origins: tuple[str, ...]
    weights: str | None = None

    @property
    def role(self) -> LayerRole:
        """Whether it multiplies matrices, is a whole attention in one kernel, or neither."""
        kind = self.kind.replace("_", "").lower()
        if any(mark in kind for mark in _MATRIX_KINDS):
            return "matrix"
        if _ATTENTION.search(self.name) or _ATTENTION.search(self.tactic):
            return "fused-attention"
        fused = "fusion" in kind or kind == "kgen"
        return "matrix" if fused and _MATRIX_FUSION.search(self.name) else "other"

    @property
    def stated_dtype(self) -> str:
        """The dtype in which it multiplies, by its weights or its kernel's name; else unknown."""
        if self.weights is not None:
            return self.weights
        constant = _narrowest(self.constants)
        if constant != UNKNOWN:
            return constant
        return next((dtype for mark, dtype in _TACTIC_MARKS if mark in self.tactic), UNKNOWN)

    @property
    def compute_dtype(self) -> str:
        """The dtype in which it multiplies: the stated one, else that of its narrowest matrix.

        A fused kernel may also read a residual in FP32, in any place of its list, and the two sides
        of a product in a typed network have one dtype: one in FP32 reads nothing narrower.
        """
        stated = self.stated_dtype
        return stated if stated != UNKNOWN else _narrowest(self.inputs)


def _narrowest(tensors: Iterable[CompiledTensor]) -> str:
    """Return the narrowest dtype among matrices; scalars and biases do not tell."""
    dtypes = [tensor.dtype for tensor in tensors if sum(side != 1 for side in tensor.shape) >= 2]
    known = (dtype for dtype in dtypes if dtype in _PRODUCT_BYTES)
    return min(known, key=_PRODUCT_BYTES.__getitem__, default=UNKNOWN)


def layers_from_log(lines: Iterable[tuple[str, str]]) -> tuple[CompiledLayer, ...] | None:
    """Return the layers that the builder listed in its log, None if it listed none.

    It lists them once per engine at severity VERBOSE, if the profiling verbosity is detailed. The
    last list counts.

    Args:
        lines: Messages as (severity name, text).
    """
    lists = [text for _, text in lines if text.startswith(LIST_HEADING)]
    if not lists:
        return None
    entries = lists[-1].removeprefix(LIST_HEADING).partition("\n\n")[0].split("\n")
    return tuple(_layer_of_line(entry) for entry in entries if entry.startswith("Name: "))


def layers_from_inspector(text: str) -> tuple[CompiledLayer, ...]:
    """Return the layers in the JSON of an engine inspector, of TensorRT 10 or 11.

    Raises:
        EngineError: If it is not such JSON, or was made without detailed profiling verbosity.
    """
    try:
        # Not strict: TensorRT separates the nodes of a fused layer by control characters.
        data = json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        raise EngineError(f"the engine inspector gave no JSON: {error}") from error
    entries = data.get("Layers") if isinstance(data, dict) else None
    if not isinstance(entries, list):
        raise EngineError("the engine inspector's JSON holds no list of layers")
    if any(not isinstance(entry, dict) for entry in entries):
        raise EngineError(
            "the engine tells only its layers' names; build it with detailed profiling verbosity"
        )
    return tuple(_layer_of_entry(entry) for entry in entries)


def dtype_of(text: str) -> str:
    """Return ONNX's name of the dtype in a description such as "Row major linear FP16 format"."""
    lowered = text.lower()
    return next((dtype for mark, dtype in _DTYPE_MARKS if mark in lowered), UNKNOWN)


def _layer_of_line(line: str) -> CompiledLayer:
    parts = _KEY.split(line)
    fields = dict(zip(parts[1::2], parts[2::2], strict=True))
    return CompiledLayer(
        name=fields.get("Name", ""),
        kind=fields.get("LayerType", ""),
        tactic=fields.get("TacticName", ""),
        inputs=_tensors_of_line(fields.get("Inputs", "")),
        constants=_tensors_of_line(fields.get("Constants", "")),
        origins=_origins(fields.get("Metadata", "")),
    )


def _tensors_of_line(text: str) -> tuple[CompiledTensor, ...]:
    tensors = []
    for sides, rest in _TENSOR.findall(text):
        match = _DATA_TYPE.search(rest)
        shape = tuple(int(side) for side in sides.split(",") if side.strip())
        tensors.append(CompiledTensor(dtype=dtype_of(match[1]) if match else UNKNOWN, shape=shape))
    return tuple(tensors)


def _layer_of_entry(entry: dict[str, Any]) -> CompiledLayer:
    weights = entry.get("Weights")
    return CompiledLayer(
        name=str(entry.get("Name", "")),
        kind=str(entry.get("LayerType", "")),
        tactic=str(entry.get("TacticName", "")),
        inputs=_tensors_of_entries(entry.get("Inputs")),
        constants=_tensors_of_entries(entry.get("Constants")),
        origins=_origins(str(entry.get("Metadata", ""))),
        weights=dtype_of(str(weights.get("Type", ""))) if isinstance(weights, dict) else None,
    )


def _tensors_of_entries(entries: object) -> tuple[CompiledTensor, ...]:
    if not isinstance(entries, list):
        return ()
    return tuple(_tensor_of_entry(entry) for entry in entries if isinstance(entry, dict))


def _tensor_of_entry(entry: dict[str, Any]) -> CompiledTensor:
    # TensorRT 10 has one key for format and dtype, 11 has two, and its spelling varies.
    keys = ("Datatype", "DataType", "Format/Datatype", "Format")
    dtypes = (dtype_of(str(entry.get(key) or "")) for key in keys)
    sides = entry.get("Dimensions")
    return CompiledTensor(
        dtype=next((dtype for dtype in dtypes if dtype != UNKNOWN), UNKNOWN),
        shape=tuple(side for side in sides if isinstance(side, int))
        if isinstance(sides, list)
        else (),
    )


def _origins(metadata: str) -> tuple[str, ...]:
    return tuple(sorted(set(_ORIGIN.findall(metadata))))
