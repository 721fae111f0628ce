"""Read the nodes and tensors of an ONNX model, as far as exports of this toolkit use the format.

There are no functions, subgraphs, sparse tensors, tensors in attributes, or operators of another
domain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np

from motivnet.artifact.onnx_graph.wire import (
    BYTES,
    FIXED32,
    MAX_FIELDS,
    VARINT,
    Fields,
    Message,
    Reader,
    integer,
    integers,
    text,
    text_of,
    view,
    views,
)
from motivnet.errors import ArtifactError

OPSETS = (20, 22, 23)
"""Of the exports: decomposed attention, the same in BF16, and the ``Attention`` operator."""

MAX_IR_VERSION = 13

INT64 = 7
ITEM_BYTES = {1: 4, 2: 1, 3: 1, 7: 8, 10: 2, 16: 2, 17: 1}
"""Bytes per element of float32, uint8, int8, int64, float16, bfloat16 and float8e4m3fn."""

_PACKED = (2, 3, 10, 16)
"""Element types given as packed numbers of 32 bits too: uint8, int8, float16, bfloat16."""

_MAX_PACKED = 1 << 20
"""Bytes of such values: one or three per channel of a layer."""

MAX_RANK = 8

Attribute: TypeAlias = "int | float | bytes | tuple[int, ...]"
Dims: TypeAlias = "tuple[int | None, ...]"

MODEL = Message(
    name="a model",
    fields={1: VARINT, 5: VARINT, **dict.fromkeys((2, 3, 4, 6, 7, 8, 14), BYTES)},
    repeated=frozenset({8, 14}),
    most=64,
    refused={20: "training", 25: "functions of its own"},
)
_OPSET = Message(name="a set of operators", fields={1: BYTES, 2: VARINT})
GRAPH = Message(
    name="a graph",
    fields=dict.fromkeys((1, 2, 5, 10, 11, 12, 13, 16), BYTES),
    repeated=frozenset({1, 5, 11, 12, 13, 16}),
    most=MAX_FIELDS,
    refused={15: "sparse tensors"},
)
NODE = Message(
    name="a node",
    fields=dict.fromkeys((1, 2, 3, 4, 5, 6, 7, 9), BYTES),
    repeated=frozenset({1, 2, 5, 9}),
    most=64,
)
_ATTRIBUTE = Message(
    name="an attribute",
    fields={1: BYTES, 2: FIXED32, 3: VARINT, 4: BYTES, 8: VARINT, 13: BYTES, 20: VARINT},
    repeated=frozenset({8}),
    refused={
        **dict.fromkeys((5, 10), "a tensor"),
        **dict.fromkeys((6, 11), "a subgraph"),
        **dict.fromkeys((22, 23), "a sparse tensor"),
    },
)
_TENSOR = Message(
    name="a tensor",
    fields={1: VARINT, 2: VARINT, 5: BYTES, 8: BYTES, 9: BYTES, 12: BYTES, 13: BYTES, 14: VARINT},
    repeated=frozenset({1, 13}),
    most=32,
)
_PAIR = Message(name="a pair of strings", fields={1: BYTES, 2: BYTES})
_VALUE = Message(
    name="a value", fields={1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES}, repeated=frozenset({4})
)
_TYPE = Message(name="a type", fields={1: BYTES, 6: BYTES})
_TENSOR_TYPE = Message(name="a tensor type", fields={1: VARINT, 2: BYTES})
_SHAPE = Message(name="a shape", fields={1: BYTES}, repeated=frozenset({1}))
_DIM = Message(name="a dimension", fields={1: VARINT, 2: BYTES, 3: BYTES})

_ATTRIBUTE_FIELDS = {1: 2, 2: 3, 3: 4, 7: 8}
"""The field of the value by ``AttributeProto.AttributeType``: float, int, string, ints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An initialiser; its bytes are in the model (``raw``) or the file beside (``external``)."""

    name: str
    dims: tuple[int, ...]
    dtype: int
    raw: memoryview
    external: tuple[str, int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An operator with the names of its inputs (empty for one that is omitted) and outputs."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A value's name and the shape that the file states, None if it states none.

    A free side is None.
    """

    name: str
    dims: Dims | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Everything in a model that decides what is computed.

    ``hints`` are the shapes that the file states of values inside the graph.
    """

    nodes: tuple[Node, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[Declared, ...]
    outputs: tuple[Declared, ...]
    hints: tuple[Declared, ...]


def graph_of_model(data: memoryview, *, max_nodes: int) -> Graph:
    """Return the graph in the bytes of a model.

    Raises:
        ArtifactError: If they are not one, or hold what no export of this toolkit holds.
    """
    reader = Reader()
    model = reader.message(data, MODEL)
    if 7 not in model:
        raise ArtifactError("it is no ONNX graph of ours: it holds no graph")
    _check_versions(reader, model)
    graph = reader.message(view(model, 7), GRAPH)
    nodes, tensors = views(graph, 1), views(graph, 5)
    if max(len(nodes), len(tensors)) > max_nodes:
        raise ArtifactError(
            f"the graph has {len(nodes):,} nodes and {len(tensors):,} tensors; "
            f"its configuration allows {max_nodes:,}"
        )
    return Graph(
        nodes=tuple(_node(reader, node) for node in nodes),
        tensors=tuple(_tensor(reader, tensor) for tensor in tensors),
        inputs=tuple(_declared(reader, value) for value in views(graph, 11)),
        outputs=tuple(_declared(reader, value) for value in views(graph, 12)),
        hints=tuple(_declared(reader, value) for value in views(graph, 13)),
    )


def _check_versions(reader: Reader, model: Fields) -> None:
    opsets = [reader.message(opset, _OPSET) for opset in views(model, 8)]
    found = [(text(opset, 1), integer(opset, 2)) for opset in opsets]
    if len(found) != 1 or found[0][0] != "" or found[0][1] not in OPSETS:
        raise ArtifactError(
            f"the graph uses the operators {str(found)[:80]}; "
            f"exports use one of ONNX's sets {OPSETS}"
        )
    if not 1 <= integer(model, 1) <= MAX_IR_VERSION:
        raise ArtifactError(
            f"the graph has the IR version {integer(model, 1)}; at most {MAX_IR_VERSION} is known"
        )


def _node(reader: Reader, data: memoryview) -> Node:
    fields = reader.message(data, NODE)
    operator, domain = text(fields, 4), text(fields, 7)
    if domain:
        raise ArtifactError(
            f"the graph uses {operator[:80]!r} of the domain {domain[:80]!r}; "
            "exports use ONNX's own"
        )
    attributes = [_attribute(reader, attribute, operator) for attribute in views(fields, 5)]
    if len(dict(attributes)) != len(attributes):
        raise ArtifactError(f"a node {operator[:80]!r} of the graph has an attribute twice")
    return Node(
        operator=operator,
        inputs=tuple(text_of(name) for name in views(fields, 1)),
        outputs=tuple(text_of(name) for name in views(fields, 2)),
        attributes=dict(attributes),
    )


def _attribute(reader: Reader, data: memoryview, operator: str) -> tuple[str, Attribute]:
    fields = reader.message(data, _ATTRIBUTE)
    name, kind = text(fields, 1), integer(fields, 20)
    holder = _ATTRIBUTE_FIELDS.get(kind)
    if holder is None or set(fields) - {1, 13, 20, holder}:
        raise ArtifactError(
            f"the attribute {name[:80]!r} of {operator[:80]!r} has a type that no export has"
        )
    if holder == 8:
        return name, integers(fields, 8)
    if holder == 4:
        return name, text(fields, 4).encode()
    if holder == 2:
        return name, float(np.uint32(integer(fields, 2)).view(np.float32))
    return name, integer(fields, 3)


def _tensor(reader: Reader, data: memoryview) -> Tensor:
    fields = reader.message(data, _TENSOR)
    tensor = Tensor(
        name=text(fields, 8),
        dims=_dims(integers(fields, 1)),
        dtype=integer(fields, 2),
        raw=view(fields, 9),
        external=_external(reader, fields),
    )
    if tensor.dtype not in ITEM_BYTES:
        raise ArtifactError(
            f"the tensor {tensor.name[:80]!r} has the data type {tensor.dtype}, which no export has"
        )
    held, wanted = _held_bytes(fields, tensor), prod(tensor.dims) * ITEM_BYTES[tensor.dtype]
    if held != wanted:
        raise ArtifactError(
            f"the tensor {tensor.name[:80]!r} holds {held:,} bytes; its shape asks for {wanted:,}"
        )
    return tensor


def _held_bytes(fields: Fields, tensor: Tensor) -> int:
    """Return the bytes of a tensor's values, which are in one of three places.

    ModelOpt writes its scales and zero points as packed numbers of 32 bits, of which each ends with
    a byte below 128.
    """
    if sum((5 in fields, 9 in fields, tensor.external is not None)) > 1:
        raise ArtifactError(f"the tensor {tensor.name[:80]!r} has values in two places")
    if tensor.external is not None:
        return tensor.external[2]
    if 5 in fields and tensor.dtype in _PACKED:
        if len(view(fields, 5)) > _MAX_PACKED:
            raise ArtifactError(
                f"the tensor {tensor.name[:80]!r} has more packed numbers than any export"
            )
        packed = np.frombuffer(view(fields, 5), np.uint8)
        return int(np.count_nonzero(packed < 0x80)) * ITEM_BYTES[tensor.dtype]
    return len(tensor.raw)


def _dims(dims: tuple[int, ...]) -> tuple[int, ...]:
    if len(dims) > MAX_RANK or min(dims, default=0) < 0:
        raise ArtifactError("a tensor of the graph has a negative side, or too many")
    return dims


def _external(reader: Reader, fields: Fields) -> tuple[str, int, int] | None:
    """Return the file, offset and length of external data, None if there is none."""
    pairs = [reader.message(pair, _PAIR) for pair in views(fields, 13)]
    entries = sorted((text(pair, 1), text(pair, 2)) for pair in pairs)
    kind = integer(fields, 14)
    if kind == 0 and not pairs:
        return None
    if kind != 1 or [name for name, _ in entries] != ["length", "location", "offset"]:
        raise ArtifactError(
            "a tensor's external data is not given by exactly location, offset and length"
        )
    (_, length), (_, location), (_, offset) = entries
    return location, _decimal(offset), _decimal(length)


def _decimal(digits: str) -> int:
    if not re.fullmatch("[0-9]{1,15}", digits):
        raise ArtifactError("the offset or length of a tensor's external data is not a number")
    return int(digits)


def _declared(reader: Reader, data: memoryview) -> Declared:
    fields = reader.message(data, _VALUE)
    kind = reader.message(view(fields, 2), _TYPE)
    tensor = reader.message(view(kind, 1), _TENSOR_TYPE)
    if 2 not in tensor:
        return Declared(name=text(fields, 1), dims=None)
    dims = [reader.message(dim, _DIM) for dim in views(reader.message(view(tensor, 2), _SHAPE), 1)]
    sides = tuple(integer(dim, 1) if 1 in dim else None for dim in dims)
    _dims(tuple(side or 0 for side in sides))
    return Declared(name=text(fields, 1), dims=sides)
