"""The check of graphs in its parts: the wire format, and the shape that each operator gives."""

from __future__ import annotations

from typing import Any

import pytest

from motivnet.artifact.onnx_graph.check import limits_of
from motivnet.artifact.onnx_graph.operators import Value, result_of
from motivnet.artifact.onnx_graph.reading import Node
from motivnet.artifact.onnx_graph.wire import (
    BYTES,
    MAX_FIELDS,
    VARINT,
    Message,
    Reader,
    integer,
    integers,
    text,
)
from motivnet.config import ModelConfig
from motivnet.errors import ArtifactError

MESSAGE = Message(
    name="a message",
    fields={1: VARINT, 2: BYTES, 3: VARINT},
    repeated=frozenset({3}),
    refused={9: "something else"},
)


def test_a_message_is_read() -> None:
    fields = Reader().message(
        memoryview(b"\x08\x96\x01\x12\x02hi\x18\x01\x18" + b"\xff" * 9 + b"\x01"), MESSAGE
    )
    assert integer(fields, 1) == 150
    assert text(fields, 2) == "hi"
    assert integers(fields, 3) == (1, -1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x08", "cut off"),
        (b"\x08\x80", "cut off"),
        (b"\x12\x05hi", "cut off"),
        (b"\x12\xff\xff\xff\xff\x7f", "cut off"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "more than ten bytes"),
        (b"\x08" + b"\xff" * 9 + b"\x02", "more than 64 bits"),
        (b"\x08\x01\x08\x01", "the field 1 too often"),
        (b"\x12\x00\x12\x00", "the field 2 too often"),
        (b"\x0a\x00", "the field 1 of wire type 2"),
        (b"\x20\x00", "the field 4 of wire type 0"),
        (b"\x0b\x0c", "the field 1 of wire type 3"),
        (b"\x4a\x00", "has something else, which no export has"),
        (b"\x00", "the field 0 of wire type 0"),
    ],
)
def test_what_protobuf_might_forgive_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ArtifactError, match=words):
        Reader().message(memoryview(data), MESSAGE)


def test_a_message_of_more_fields_than_its_type_has_is_refused() -> None:
    Reader().message(memoryview(b"\x18\x00" * 16), MESSAGE)
    with pytest.raises(ArtifactError, match="the field 3 too often"):
        Reader().message(memoryview(b"\x18\x00" * 17), MESSAGE)


def test_many_messages_of_a_file_have_one_limit_together() -> None:
    reader, data = Reader(), memoryview(b"\x18\x00" * 10)
    for _ in range(MAX_FIELDS // 10):
        reader.message(data, MESSAGE)
    with pytest.raises(ArtifactError, match="more than 100,000 fields in all"):
        reader.message(data, MESSAGE)


def shape_of(kind: str, inputs: list[Any], **attributes: Any) -> tuple[int | None, ...]:
    """The first output's shape; an input is a shape, a ``Value``, or None."""
    values = [Value(given) if isinstance(given, tuple) else given for given in inputs]
    outputs = tuple(f"o{index}" for index in range(attributes.get("num_outputs", 1)))
    node = Node(operator=kind, inputs=("x",) * len(inputs), outputs=outputs, attributes=attributes)
    return result_of(node, values).outputs[0].dims


def test_a_vector_that_is_too_long_for_a_shape_is_not_kept() -> None:
    node = Node(operator="Concat", inputs=("x",) * 8, outputs=("y",), attributes={"axis": 0})
    assert result_of(node, [numbers(*range(8))] * 8).outputs == (computed(*list(range(8)) * 8),)
    assert result_of(node, [numbers(*range(9))] * 8).outputs == (Value((72,)),)


def numbers(*values: int) -> Value:
    return Value((len(values),), values, is_constant=True)


def computed(*values: int) -> Value:
    """Numbers that a graph makes of the shapes of others, such as the batch."""
    return Value((len(values),), values)


CONV = {"strides": (16, 16), "pads": (2, 2, 2, 2), "dilations": (1, 1), "group": 1}
HEADS = {"q_num_heads": 4, "kv_num_heads": 2}


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "shape"),
    [
        ("Add", [(2, 1, 3), (4, 1)], {}, (2, 4, 3)),
        ("Mul", [(), (5,)], {}, (5,)),
        ("MatMul", [(2, 3, 4), (4, 5)], {}, (2, 3, 5)),
        ("MatMul", [(2, 1, 3, 4), (7, 4, 5)], {}, (2, 7, 3, 5)),
        ("Conv", [(2, 3, 128, 96), (8, 3, 16, 16)], CONV, (2, 8, 8, 6)),
        ("Attention", [(2, 7, 64), (2, 9, 32), (2, 9, 48)], HEADS, (2, 7, 96)),
        ("Attention", [(2, 4, 7, 16), (2, 2, 9, 16), (2, 2, 9, 8)], {}, (2, 4, 7, 8)),
        ("Concat", [(2, 3), (2, 5)], {"axis": -1}, (2, 8)),
        ("Expand", [(1, 3), numbers(4, 2, 1)], {}, (4, 2, 3)),
        ("Reshape", [(2, 6, 4), numbers(-1, 3, 8)], {"allowzero": 1}, (2, 3, 8)),
        ("Reshape", [(2, 6, 4), numbers(0, -1)], {}, (2, 24)),
        ("Resize", [(2, 3, None, None), None, None, numbers(2, 3, 8, 6)], {}, (2, 3, 8, 6)),
        ("Transpose", [(2, None, None, 3)], {"perm": (0, 3, 1, 2)}, (2, 3, None, None)),
        ("Shape", [(2, None, 3)], {"start": 0, "end": 1}, (1,)),
        ("Slice", [(2, 9), numbers(0), numbers(1 << 62), numbers(1), numbers(1)], {}, (2, 9)),
        ("Slice", [(2, 9), numbers(-3), numbers(-1), numbers(1), numbers(1)], {}, (2, 2)),
        ("Split", [(2, 9)], {"axis": 1, "num_outputs": 3}, (2, 3)),
        ("Gather", [(2, 9, 4), numbers(0, 8, 3)], {"axis": 1}, (2, 3, 4)),
        ("Unsqueeze", [(2, 3), numbers(-1)], {}, (2, 3, 1)),
        ("ReduceSum", [(2, 3, 4), numbers(1)], {"keepdims": 0}, (2, 4)),
        ("ReduceMean", [(2, 3, 4), numbers(-1)], {}, (2, 3, 1)),
        ("Pad", [(2, 3), numbers(0, 1, 0, 2), ()], {}, (2, 6)),
        ("LayerNormalization", [(2, 3), (3,), (3,)], {}, (2, 3)),
    ],
)
def test_a_node_gives_this_shape(
    kind: str, inputs: list[Any], attributes: dict[str, Any], shape: Any
) -> None:
    assert shape_of(kind, inputs, **attributes) == shape


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes"),
    [
        ("Add", [(2, 3), (4,)], {}),
        ("Add", [(2, 3)], {}),
        ("Add", [(2, None), (1,)], {}),
        ("Add", [(1,) * 9, (1,)], {}),
        ("MatMul", [(2, 3), (4, 5)], {}),
        ("MatMul", [(3,), (3,)], {}),
        ("Conv", [(1, 3, 8, 8), (8, 3, 16, 16)], CONV | {"pads": (0, 0, 0, 0)}),
        ("Conv", [(1, 3, 99, 99), (8, 3, 16, 16)], CONV | {"pads": (-1, 0, 0, 0)}),
        ("Conv", [(1, 3, 99, 99), (8, 3, 16, 16)], CONV | {"strides": (0, 1)}),
        ("Conv", [(1, 3, 99, 99), (8, 3, 16, 16)], CONV | {"auto_pad": b"SAME_UPPER"}),
        ("Attention", [(2, 7, 64), (2, 9, 32), (2, 8, 48)], HEADS),
        ("Attention", [(2, 7, 64), (2, 9, 32), (2, 9, 48)], {"q_num_heads": 4, "kv_num_heads": 0}),
        ("Attention", [(2, 7, 64), (2, 9, 32), (2, 9, 48), (7, 9)], HEADS),
        ("Cast", [(2,)], {"to": 11}),
        ("Cast", [(2,)], {"to": 1.0}),
        ("Concat", [(2, 3), (2, 3, 1)], {"axis": 0}),
        ("Expand", [(1,), (2,)], {}),
        ("Expand", [(1,), numbers(-1)], {}),
        ("Reshape", [(2, 3), numbers(-1, -1)], {"allowzero": 1}),
        ("Reshape", [(2, 3), numbers(0, 5)], {}),
        ("Reshape", [(2, 3), numbers(0, 0, 0)], {}),
        ("Reshape", [(0,), numbers(-1, 0)], {"allowzero": 1}),
        ("Resize", [(2, 3), None, numbers(2, 2), numbers(2, 3)], {}),
        ("Resize", [(2, 3)], {}),
        ("Shape", [(2, None)], {}),
        ("Slice", [(2,), numbers(0), numbers(2), numbers(0), numbers(-1)], {}),
        ("Split", [(2, 9)], {"axis": 1, "num_outputs": 2}),
        ("Transpose", [(2, 3)], {"perm": (0, 0)}),
        ("Transpose", [(2, 3)], {}),
        ("Unsqueeze", [(2, 3), numbers(4)], {}),
        ("LayerNormalization", [(2, 3), (1_000, 3)], {}),
        ("Relu", [None], {}),
        ("Relu", [(2,)], {"alpha": 1.0}),
        ("Loop", [(2,)], {}),
        ("ReduceSum", [(2, 3), Value((0,), (), is_constant=True)], {}),
        ("ReduceSum", [(2, 3), computed(1)], {}),
        ("Unsqueeze", [(2, 3), numbers(0, 0)], {}),
        ("Unsqueeze", [(2, 3), computed(0)], {}),
        ("Slice", [(2, 9), numbers(-8), numbers(9), numbers(1), numbers(1)], {}),
        ("Slice", [(2, 9), numbers(0, 0), numbers(1, 2), numbers(1, 1), numbers(1, 1)], {}),
        ("Slice", [(2, 9), computed(4), numbers(9), numbers(1), numbers(1)], {}),
        ("Gather", [(2, 9, 4), numbers(0, 9)], {"axis": 1}),
        ("Gather", [(2, 9, 4), numbers(0, -1)], {"axis": 1}),
        ("Gather", [(2, 9, 4), numbers(3, 3)], {"axis": 1}),
        ("Gather", [(2, 9, 4), computed(3)], {"axis": 1}),
        ("Gather", [(2, 9, 4), Value((3,))], {"axis": 1}),
        ("Gather", [(2, 9, 4), Value((0,), (), is_constant=True)], {"axis": 1}),
        ("Pad", [(2, 3), computed(0, 1, 0, 2), ()], {}),
        ("Reshape", [(2, 6), computed(4, -1)], {"allowzero": 1}),
        (
            "Resize",
            [(2, 3), None, None, numbers(2, 9)],
            {"keep_aspect_ratio_policy": b"not_smaller"},
        ),
        ("x" * 10_000, [], {}),
    ],
)
def test_a_node_that_no_export_has_is_one_line(
    kind: str, inputs: list[Any], attributes: dict[str, Any]
) -> None:
    with pytest.raises(ArtifactError) as raised:
        shape_of(kind, inputs, **attributes)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("name", ["tiny", "sapiens-0.3b", "sapiens-2b"])
def test_limits_grow_no_faster_than_the_batch(name: str) -> None:
    config = ModelConfig.named(name)
    one, many = limits_of(config, batch=1), limits_of(config, batch=64)
    assert one.elements <= many.elements <= 64 * one.elements
    assert many.multiplications == 64 * one.multiplications
