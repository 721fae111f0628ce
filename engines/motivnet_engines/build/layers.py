"""The layers of a compiled engine, from either of the two places where TensorRT lists them.

``layers_from_log`` reads the list that the builder writes into its log; it needs no GPU.
``layers_from_inspector`` reads the JSON of the engine inspector. Keys differ between versions, so a
missing one is never an error here.
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
"""The dtype of a tensor whose format TensorRT does not give, such as "N/A due to dynamic shapes"."""

_LIST_HEADING = "Layers:\n"
_KEY = re.compile(
    r"(?:^|, )(Name|LayerType|Inputs|Constants|Outputs|TacticName|StreamId|Metadata): "
)
_TENSOR = re.compile(r"Dimensions: \[([^\]]*)\](.*?)(?=\{ Name: |$)")
_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]]*)\]")

_MATRIX_KINDS = ("gemm", "conv", "correlation", "matrixmultiply", "fullyconnected")
"""Parts of layer types that multiply matrices, in lower case and without underscores."""
_MATRIX_FUSION = re.compile(r"Fc(?![a-z])|(?i:gemm)|Conv(?![a-z])")
"""A fused kernel is named after its operations: ``__myl_FcAddRelu``."""
_ATTENTION = re.compile(r"(?<![a-z])f?mha(?![a-z])|flash_?attention", re.IGNORECASE)
"""``_gemm_mha_v2``, ``fmha_v2_flash_attention_fp16_...``; never the bare word: unfused layers keep the node's name."""

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
"""Words in a tensor's format, longest meaning first: "BFloat16" holds "Float", "UInt8" holds "Int8"."""

_TACTIC_MARKS = (
    ("bf16bf16", "bfloat16"),
    ("e4m3", "float8e4m3fn"),
    ("i8i8", "int8"),
    ("f16f16", "float16"),
    ("h16816", "float16"),
    ("tf32", "float32"),
    ("f32f32", "float32"),
)
"""How kernels name the dtypes that they multiply; with a free batch TensorRT may give no format but this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledTensor:
    """What goes into a layer or comes out of it: ONNX's name of its dtype, and its shape, -1 where it is free."""

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
    def compute_dtype(self) -> str:
        """The dtype in which it multiplies: that of its weights, which a typed network shares with
        the other side.

        Without weights that of its first matrix; scalars and biases say nothing, and a fused kernel
        may also read a residual of another dtype.
        """
        if self.weights is not None:
            return self.weights
        tensors = (*self.constants, *self.inputs)
        dtypes = [
            tensor.dtype for tensor in tensors if _is_matrix(tensor) and tensor.dtype != UNKNOWN
        ]
        return dtypes[0] if dtypes else _dtype_of_tactic(self.tactic)


def layers_from_log(lines: Iterable[tuple[str, str]]) -> tuple[CompiledLayer, ...] | None:
    """The layers that the builder listed in its log, None where it listed none.

    It does so for detailed profiling verbosity, at severity VERBOSE, once per engine; the last list
    counts.

    Args:
        lines: Messages as (severity name, text).
    """
    lists = [text for _, text in lines if text.startswith(_LIST_HEADING)]
    if not lists:
        return None
    entries = lists[-1].removeprefix(_LIST_HEADING).partition("\n\n")[0].split("\n")
    return tuple(_layer_of_line(entry) for entry in entries if entry.startswith("Name: "))


def layers_from_inspector(text: str) -> tuple[CompiledLayer, ...]:
    """The layers in the JSON of an engine inspector, of TensorRT 10 or 11.

    Raises:
        EngineError: If it is not such JSON, or was made without detailed profiling verbosity.
    """
    try:
        data = json.loads(
            text, strict=False
        )  # TensorRT separates the nodes of a fused layer by control characters
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
    """ONNX's name of the dtype in one of TensorRT's descriptions, such as "Row major linear FP16 format"."""
    lowered = text.lower()
    return next((dtype for mark, dtype in _DTYPE_MARKS if mark in lowered), UNKNOWN)


def _dtype_of_tactic(tactic: str) -> str:
    return next((dtype for mark, dtype in _TACTIC_MARKS if mark in tactic), UNKNOWN)


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
    return tuple(
        CompiledTensor(
            dtype=_dtype_of_line(rest),
            shape=tuple(int(side) for side in sides.split(",") if side.strip()),
        )
        for sides, rest in _TENSOR.findall(text)
    )


def _dtype_of_line(text: str) -> str:
    match = re.search(r"Data[tT]ype: ([^,}\]]*)", text)
    return dtype_of(match[1]) if match else UNKNOWN


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
    tensors = (
        [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    )
    return tuple(
        CompiledTensor(dtype=_dtype_of_entry(tensor), shape=_shape_of(tensor)) for tensor in tensors
    )


def _dtype_of_entry(tensor: dict[str, Any]) -> str:
    """TensorRT 10 has one key for format and dtype, 11 has two, and its spelling varies."""
    values = (tensor.get(key) for key in ("Datatype", "DataType", "Format/Datatype", "Format"))
    return next(
        (dtype for value in values if (dtype := dtype_of(str(value or ""))) != UNKNOWN), UNKNOWN
    )


def _shape_of(tensor: dict[str, Any]) -> tuple[int, ...]:
    sides = tensor.get("Dimensions")
    return tuple(side for side in sides if isinstance(side, int)) if isinstance(sides, list) else ()


def _origins(metadata: str) -> tuple[str, ...]:
    return tuple(sorted(set(_ORIGIN.findall(metadata))))


def _is_matrix(tensor: CompiledTensor) -> bool:
    return sum(side != 1 for side in tensor.shape) >= 2
