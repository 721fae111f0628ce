"""A checked model's bytes with one attribute more, without onnx, which devices do not have."""

from __future__ import annotations

from motivnet.artifact.onnx_graph.reading import GRAPH, MODEL, NODE
from motivnet.artifact.onnx_graph.wire import BYTES, Fields, Message, Reader, text, view, views

_GRAPH_OF_MODEL, _NODES_OF_GRAPH, _ATTRIBUTES_OF_NODE = 7, 1, 5
_INT = 2
"""``AttributeProto.AttributeType``."""


def with_attribute(data: memoryview, *, operator: str, name: str, value: int) -> bytes:
    """Return the model in which every node of an operator has one more integer attribute.

    The file stays as it is. Weights are copied once.

    Args:
        data: A model that ``check_model`` accepted.
        value: Not negative.

    Raises:
        ArtifactError: If the bytes are no model.
    """
    reader = Reader()
    attribute = b"".join(
        (_field(1, name.encode()), _number(3, value), _number(20, _INT))  # name, i, type
    )
    model = reader.message(data, MODEL)
    graph = reader.message(view(model, _GRAPH_OF_MODEL), GRAPH)
    for index, node in enumerate(views(graph, _NODES_OF_GRAPH)):
        fields = reader.message(node, NODE)
        if text(fields, 4) == operator:
            fields.setdefault(_ATTRIBUTES_OF_NODE, []).append(memoryview(attribute))
            graph[_NODES_OF_GRAPH][index] = memoryview(b"".join(_parts(fields, NODE)))
    parts = _parts(graph, GRAPH)
    model.pop(_GRAPH_OF_MODEL, None)
    return b"".join(
        [*_parts(model, MODEL), _key(_GRAPH_OF_MODEL), _varint(sum(map(len, parts))), *parts]
    )


def _parts(fields: Fields, message: Message) -> list[bytes | memoryview]:
    """Return the pieces of a message that has no fixed-width fields; views are not copied."""
    parts: list[bytes | memoryview] = []
    for number, values in fields.items():
        for value in values:
            if isinstance(value, int):
                parts.append(_number(number, value))
            else:
                assert message.fields[number] == BYTES
                parts += (_key(number), _varint(len(value)), value)
    return parts


def _field(number: int, value: bytes) -> bytes:
    return _key(number) + _varint(len(value)) + value


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _key(number: int) -> bytes:
    return _varint(number << 3 | BYTES)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
