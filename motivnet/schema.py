"""JSON that is exchanged or kept: read into typed values, and written so that any reader agrees on it.

msgspec checks types, unknown keys, the range of numbers and Unicode. Two things it leaves to us: a
key that appears twice, of which readers keep either (RFC 8259, section 4), and a limit in bytes.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Literal, TypeVar

import msgspec

from motivnet.printable import escaped_json, printable

MAX_BYTES = 1_000_000
MAX_DEPTH = 16
MAX_INTEGER = 2**63 - 1

T = TypeVar("T")

_PLACE = re.compile(r"(?P<problem>.*) - at `(?P<key>key in )?\$(?P<path>.*)`", re.DOTALL)


class SchemaError(ValueError):
    """The text is not JSON, or not the JSON that was expected; the message names the place."""


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the values that are read from JSON: immutable, and an unknown key is an error.

    Subclasses pass ``kw_only=True``; ``__post_init__`` checks what the annotations do not say.
    """


def decode(data: bytes, kind: type[T], *, max_bytes: int = MAX_BYTES) -> T:
    """Return the value of a UTF-8 JSON document as a ``kind``: a ``Schema``, ``dict[str, Any]``, ...

    Raises:
        SchemaError: On what is not JSON or does not fit ``kind``, a key that appears twice, more than
            ``max_bytes`` bytes, or a nesting deeper than ``MAX_DEPTH``.
    """
    if len(data) > max_bytes:
        raise SchemaError(f"{len(data)} bytes are more than the {max_bytes} allowed")
    try:
        value = msgspec.json.decode(data, type=kind)
        _check_plain(json.loads(data, object_pairs_hook=_unique, parse_int=_bounded_integer))
    except msgspec.ValidationError as error:
        raise SchemaError(_explain(error)) from error
    except msgspec.DecodeError as error:
        raise SchemaError(f"not JSON: {printable(str(error))}") from error
    except RecursionError as error:
        raise SchemaError(f"nested deeper than {MAX_DEPTH} levels") from error
    return value


def convert(value: Any, kind: type[T]) -> T:
    """Return plain values (of YAML, of a checkpoint) as a ``kind``, checked as ``decode`` does.

    Raises:
        SchemaError: On what does not fit ``kind``.
    """
    _check_plain(value)
    try:
        return msgspec.convert(value, type=kind)
    except msgspec.ValidationError as error:
        raise SchemaError(_explain(error)) from error


def encode(value: object, *, errors: Literal["strict", "replace"] = "strict") -> bytes:
    """Return UTF-8 JSON, indented, with a final newline and escapes for what is not printable.

    Args:
        value: Plain values, a ``Schema`` or a dataclass.
        errors: ``replace`` writes a question mark for what is not Unicode, such as a byte of a file
            name; for output that is shown and not read back.

    Raises:
        SchemaError: On NaN, infinity or half a surrogate pair.
    """
    try:
        text = json.dumps(
            value, indent=2, ensure_ascii=False, allow_nan=False, default=msgspec.to_builtins
        )
        return escaped_json(f"{text}\n".encode(errors=errors).decode()).encode()
    except UnicodeEncodeError as error:
        raise SchemaError("a string holds half a surrogate pair, which is not Unicode") from error
    except ValueError as error:  # a circular value is a ValueError too, and a bug
        if "JSON compliant" not in str(error):
            raise
        raise SchemaError("NaN and infinity are not JSON numbers") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise SchemaError(f"key {printable(repr(name), limit=60)} appears twice")
        result[name] = value
    return result


def _bounded_integer(text: str) -> int:
    if len(text) > len(str(-MAX_INTEGER)) or abs(int(text)) > MAX_INTEGER:
        raise SchemaError(f"{printable(text, limit=60)} is beyond 64 bits")
    return int(text)


def _check_plain(value: Any, depth: int = 1) -> None:
    """Raises for NaN, infinity, and a nesting deeper than this toolkit ever writes."""
    if isinstance(value, float) and not math.isfinite(value):
        raise SchemaError("NaN and infinity are not JSON numbers")
    if not isinstance(value, dict | list | tuple):
        return
    if depth > MAX_DEPTH:
        raise SchemaError(f"nested deeper than {MAX_DEPTH} levels")
    for item in value.values() if isinstance(value, dict) else value:
        _check_plain(item, depth + 1)


def _explain(error: msgspec.ValidationError) -> str:
    """msgspec's message with the place in front: ``encoder.depth: Expected int``."""
    text = printable(str(error), limit=400)
    if (match := _PLACE.fullmatch(text)) is None:
        return text
    place = match["path"].lstrip(".")
    return f"{place}: {match['problem']}" if place else match["problem"]
