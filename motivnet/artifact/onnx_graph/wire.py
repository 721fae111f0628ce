"""A strict reader of the protobuf wire format: known fields, of the right type and number.

What protobuf tolerates is refused, because parsers tolerate differently: unknown fields, a
singular field that appears twice (its parts would be merged), and groups. Values of bytes are
views; nothing is copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from motivnet.errors import ArtifactError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

MAX_FIELDS = 100_000
"""Of all the messages of a file; each becomes a Python object of up to 200 bytes.

The largest published model has about half as many, in INT8.
"""

_MAX_TEXT = 256
"""Bytes of a name; those of the exports have up to 50."""

Value: TypeAlias = "int | memoryview"
Fields: TypeAlias = "dict[int, list[Value]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A type of message.

    Attributes:
        name: With its article.
        fields: The wire type of each field that it may have.
        repeated: The fields that may appear more than once.
        most: How many fields one message may have.
        refused: What known fields hold that it may not have, for the error.
    """

    name: str
    fields: Mapping[int, int]
    repeated: frozenset[int] = frozenset()
    most: int = 16
    refused: Mapping[int, str] = field(default_factory=dict)


class Reader:
    """Reads the messages of one file, which together have at most ``MAX_FIELDS`` fields."""

    def __init__(self) -> None:
        self._left = MAX_FIELDS

    def message(self, data: memoryview, message: Message) -> Fields:
        """Return the values of each field in their order: views of bytes, or unsigned numbers.

        Raises:
            ArtifactError: If the message is cut off, has a field that its type does not name, or
                too many fields.
        """
        known, repeated, found = message.fields, message.repeated, dict[int, list[Value]]()
        position, end, left = 0, len(data), message.most
        while position < end:
            key, position = _varint(data, position, message)
            number = key >> 3
            if known.get(number) != key & 7:
                what = message.refused.get(number, f"the field {number} of wire type {key & 7}")
                raise _damaged(message, f"has {what}, which no export has")
            value, position = _value(data, position, key & 7, message)
            left -= 1
            if left < 0 or (number in found and number not in repeated):
                raise _damaged(message, f"has the field {number} too often")
            found.setdefault(number, []).append(value)
        self._left -= message.most - left
        if self._left < 0:
            raise ArtifactError(
                f"the graph has more than {MAX_FIELDS:,} fields in all; exports have fewer"
            )
        return found


def integer(fields: Fields, number: int, default: int = 0) -> int:
    """Return a signed integer field."""
    value = fields.get(number, (default,))[0]
    assert isinstance(value, int)
    return value - (1 << 64) if value >= 1 << 63 else value


def integers(fields: Fields, number: int) -> tuple[int, ...]:
    """Return a repeated field of signed integers."""
    return tuple(integer({number: [value]}, number) for value in fields.get(number, ()))


def view(fields: Fields, number: int) -> memoryview:
    """Return a field of bytes, empty if it is absent."""
    value = fields.get(number, (memoryview(b""),))[0]
    assert isinstance(value, memoryview)
    return value


def views(fields: Fields, number: int) -> list[memoryview]:
    """Return a repeated field of bytes or messages."""
    return [value for value in fields.get(number, ()) if isinstance(value, memoryview)]


def text(fields: Fields, number: int) -> str:
    """Return a field of text, empty if it is absent."""
    return text_of(view(fields, number))


def text_of(value: memoryview) -> str:
    """Return the text of a name.

    Raises:
        ArtifactError: If it is not UTF-8 or longer than any name of ours.
    """
    if len(value) > _MAX_TEXT:
        raise ArtifactError(
            f"the graph has a name of {len(value):,} bytes; at most {_MAX_TEXT:,} are allowed"
        )
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError("the graph has a name that is not UTF-8") from error


def _value(data: memoryview, position: int, wire: int, message: Message) -> tuple[Value, int]:
    if wire == VARINT:
        return _varint(data, position, message)
    if wire == BYTES:
        length, position = _varint(data, position, message)
    else:
        length = 8 if wire == FIXED64 else 4
    if length > len(data) - position:
        raise _damaged(message, "is cut off")
    found = data[position : position + length]
    return (found if wire == BYTES else int.from_bytes(found, "little")), position + length


def _varint(data: memoryview, position: int, message: Message) -> tuple[int, int]:
    if position < len(data) and data[position] < 0x80:  # as most are
        return data[position], position + 1
    value = shift = 0
    for byte in data[position : position + 10]:
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    else:
        raise _damaged(message, "is cut off or holds a number of more than ten bytes")
    if value >= 1 << 64:
        raise _damaged(message, "holds a number of more than 64 bits")
    return value, position


def _damaged(message: Message, what: str) -> ArtifactError:
    return ArtifactError(f"it is no ONNX graph of ours: {message.name} {what}")
