"""JSON that is exchanged or kept, read into typed values and written for any reader.

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

_PLACE = re.compile(r"(?P<problem>.*) - at `(?:key` in `)?\$(?P<path>.*)`", re.DOTALL)


class SchemaError(ValueError):
    """The text is not JSON, or not the JSON that was expected; the message names the place."""


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the values that are read from JSON: immutable, and an unknown key is an error.

    Subclasses pass ``kw_only=True``; ``__post_init__`` checks what the annotations do not say.
    """


def decode(data: bytes, kind: type[T], *, max_bytes: int = MAX_BYTES) -> T:
    """Return the value of a UTF-8 JSON document as a ``kind``.

    Args:
        kind: A ``Schema`` class, ``dict[str, Any]``, or a union of ``Schema`` classes that pass
            ``tag=True`` or a string.

    Raises:
        SchemaError: On what is not JSON or does not fit ``kind``, a key that appears twice, more
            than ``max_bytes`` bytes, or a nesting deeper than ``MAX_DEPTH``.
    """
    if len(data) > max_bytes:
        raise SchemaError(f"{len(data)} bytes are more than the {max_bytes} allowed")
    try:
        _check_plain(json.loads(data, object_pairs_hook=_unique, parse_int=_parse_integer))
        return msgspec.json.decode(data, type=kind)
    except SchemaError:
        raise
    except msgspec.ValidationError as error:
        raise SchemaError(_explain(error)) from error
    except RecursionError as error:
        raise SchemaError(f"nested deeper than {MAX_DEPTH} levels") from error
    except (ValueError, msgspec.DecodeError) as error:
        raise SchemaError(f"not JSON: {printable(str(error))}") from error


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


def encode(
    value: object, *, errors: Literal["strict", "replace"] = "strict", indent: int | None = 2
) -> bytes:
    """Return UTF-8 JSON with a final newline and escapes for what is not printable.

    Args:
        value: Plain values, a ``Schema`` or a dataclass.
        errors: ``replace`` writes a question mark for what is not Unicode, such as a byte of a file
            name; for output that is shown and not read back.
        indent: None writes everything on one line.

    Raises:
        SchemaError: On NaN, infinity or half a surrogate pair.
    """
    try:
        text = json.dumps(
            value, indent=indent, ensure_ascii=False, allow_nan=False, default=msgspec.to_builtins
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


def _parse_integer(digits: str) -> int:
    """Return an integer; one of thousands of digits is not converted, which takes long."""
    return int(digits) if len(digits) <= 20 else MAX_INTEGER + 1


def _check_plain(value: Any, depth: int = 1) -> None:
    """Raise SchemaError for what other readers would read differently, or recurse on."""
    if isinstance(value, float) and not math.isfinite(value):
        raise SchemaError("NaN and infinity are not JSON numbers")
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise SchemaError("an integer is beyond 64 bits")
    if not isinstance(value, dict | list | tuple):
        return
    if depth > MAX_DEPTH:
        raise SchemaError(f"nested deeper than {MAX_DEPTH} levels")
    for item in value.values() if isinstance(value, dict) else value:
        _check_plain(item, depth + 1)


def _explain(error: msgspec.ValidationError) -> str:
    """Return the message of msgspec with the place in front: ``encoder.depth: Expected int``."""
    text = printable(str(error), limit=200)
    if (match := _PLACE.fullmatch(text)) is None:
        return text
    place = match["path"].lstrip(".")
    return f"{place}: {match['problem']}" if place else match["problem"]
