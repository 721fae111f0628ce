"""Protocol buffers' text format, as much of it as a ``config.pbtxt`` needs.

Written here because the library would bring Triton's client to every machine that exports; the
tests parse what is written with that library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Field: TypeAlias = "tuple[str, Value]"
Message: TypeAlias = "tuple[Field, ...]"
"""Names and values, in order; a repeated field occurs several times, or once with a list of numbers."""

Value: TypeAlias = "str | bool | int | Name | list[int] | Message"

_INDENT = "  "
_PRINTABLE = range(0x20, 0x7F)


@dataclass(frozen=True, slots=True)
class Name:
    """The name of an enumeration's value, which is written without quotes."""

    text: str


def text_of_message(message: Message, *, depth: int = 0) -> str:
    """The message in text format, one field a line."""
    return "".join(_text_of_field(name, value, _INDENT * depth, depth) for name, value in message)


def _text_of_field(name: str, value: Value, indent: str, depth: int) -> str:
    if isinstance(value, tuple):
        return f"{indent}{name} {{\n{text_of_message(value, depth=depth + 1)}{indent}}}\n"
    return f"{indent}{name}: {_text_of_scalar(value)}\n"


def _text_of_scalar(value: str | bool | int | Name | list[int]) -> str:
    if isinstance(value, Name):
        return value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[ {', '.join(map(str, value))} ]"
    return str(value) if isinstance(value, int) else _quoted(value)


def _quoted(text: str) -> str:
    """The string between quotes, all but plain ASCII as octal bytes."""
    return '"' + "".join(_character(byte) for byte in text.encode()) + '"'


def _character(byte: int) -> str:
    if byte in b'"\\':
        return "\\" + chr(byte)
    return chr(byte) if byte in _PRINTABLE else f"\\{byte:03o}"
