"""JSON that is exchanged or kept, read into typed values and written for any reader.

msgspec checks types, unknown keys, the range of numbers and Unicode. Two things it leaves to us: a
key that appears twice, of which readers keep either (RFC 8259, section 4), and a limit in bytes.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import Any, Literal, TypeVar

import msgspec

from motivnet.printable import escaped_json, printable

MAX_BYTES = 1_000_000
MAX_DEPTH = 16
MAX_INTEGER = 2**63 - 1

T = TypeVar("T")

_PLACE = re.compile(r"(?P<problem>.*) - at `(?:key` in `)?\$(?P<path>.*)`", re.DOTALL)


_STEP = re.compile(r"[^.\[\]]+|\[[^\]]*\]")
_WRONG_CHOICE = re.compile(r"Invalid (?:enum )?value")

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


class SchemaError(ValueError):
    """The text is not JSON, or not the JSON that was expected; the message names the place."""


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the values that are read from JSON: immutable, and an unknown key is an error.

    Subclasses pass ``kw_only=True``; ``__post_init__`` checks what the annotations do not say.
    """


def decode(data: bytes, kind: type[T], *, max_bytes: int = MAX_BYTES) -> T:
    """Return the value of a JSON document as a ``kind``.

    It is UTF-8. A byte order mark is taken, and with it UTF-16, which PowerShell writes by default.

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
        text = text_from_bytes(data)
        _check_plain(json.loads(text, object_pairs_hook=_unique, parse_int=_parse_integer))
        return msgspec.json.decode(text, type=kind)
    except SchemaError:
        raise
    except msgspec.ValidationError as error:
        raise SchemaError(_explain(error, kind)) from error
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
        raise SchemaError(_explain(error, kind)) from error


def text_from_bytes(data: bytes) -> str:
    """Return the text of a file that people write: UTF-8, or what its byte order mark says.

    Raises:
        UnicodeDecodeError: If it is not.
    """
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return data.removeprefix(mark).decode(encoding)
    return data.decode()


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


def _explain(error: msgspec.ValidationError, kind: Any) -> str:
    """Return the message of msgspec with the place in front: ``encoder.depth: Expected int``."""
    text = printable(str(error), limit=200)
    if (match := _PLACE.fullmatch(text)) is None:
        return text + _choices_text(text, kind, "")
    place = match["path"].lstrip(".")
    problem = match["problem"] + _choices_text(match["problem"], kind, place)
    return f"{place}: {problem}" if place else problem


def _choices_text(problem: str, kind: Any, place: str) -> str:
    """Return what may stand at a place, if the problem is that something else does."""
    if not _WRONG_CHOICE.match(problem):
        return ""
    choices = _choices_at(msgspec.inspect.type_info(kind), _STEP.findall(place))
    listed = ", ".join(dict.fromkeys(map(str, choices)))
    return f"; choose one of {listed}" if listed else ""


def _choices_at(kind: Any, path: list[str]) -> Iterator[object]:
    """Yield the values that a type, as ``msgspec.inspect`` describes it, has at a path."""
    if isinstance(kind, msgspec.inspect.StructType) and path:
        if path == [kind.tag_field]:
            yield kind.tag
        for field in kind.fields:
            if field.encode_name == path[0]:
                yield from _choices_at(field.type, path[1:])
        return
    if not path:
        yield from getattr(kind, "values", ())
    # Of a union or an annotated type, which are no step of a path, and of collections.
    inner = (*getattr(kind, "types", ()), getattr(kind, "type", None))
    items = (getattr(kind, "item_type", None), getattr(kind, "value_type", None))
    for each in (*inner, *(items if path else ())):
        if each is not None:
            yield from _choices_at(each, path[1:] if each in items else path)
