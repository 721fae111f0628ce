"""JSON that means one thing only: no duplicate or unknown keys, no floats for integers, bounded in
size and depth.

The standard parser keeps the last of two equal keys, reads ``1e999`` as infinity and ``NaN`` as a
number, and lets half a surrogate pair into a string that then cannot be written; a manifest or a
configuration must not depend on which of two readers opened it (RFC 8259, sections 4, 6 and 8.2).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union

from motivnet.printable import escaped_json

MAX_BYTES = 1_000_000
MAX_DEPTH = 16
MAX_INTEGER = 2**63 - 1
_SHOWN = 60

T = TypeVar("T")

_SCALARS = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


class StrictJSONError(ValueError):
    """The text is not JSON, or not the JSON that was expected; the message names the place."""


def loads(data: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """The value of a UTF-8 JSON document.

    Raises:
        StrictJSONError: On a duplicate key, a number that is not finite, an integer beyond 64 bits,
            text that is not Unicode, more than ``max_bytes`` bytes or a nesting deeper than
            ``MAX_DEPTH``.
    """
    if len(data) > max_bytes:
        raise StrictJSONError(f"{len(data)} bytes are more than the {max_bytes} allowed")
    try:
        text = data.decode("utf-8")
        _check_depth(text)
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_reject_constant,
            parse_float=_finite_float,
            parse_int=_bounded_integer,
        )
    except UnicodeDecodeError as error:
        raise StrictJSONError(f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise StrictJSONError(f"not JSON at line {error.lineno}: {error.msg}") from error
    if "\\u" in text:  # only an escape can bring half a surrogate pair: the bytes were valid UTF-8
        dumps(value)
    return value


def dumps(value: object, *, errors: Literal["strict", "replace"] = "strict") -> bytes:
    """UTF-8 JSON of plain values and dataclasses, indented, with a final newline; what is not
    printable is escaped.

    Args:
        errors: ``replace`` writes a question mark for what is not Unicode, such as a byte of a
            file's name; for output to be shown, not for what ``loads`` is to read.

    Raises:
        StrictJSONError: On NaN, infinity or half a surrogate pair.
    """
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
        return escaped_json(f"{text}\n".encode(errors=errors).decode()).encode()
    except UnicodeEncodeError as error:
        raise StrictJSONError(
            "a string holds half a surrogate pair, which is not Unicode text"
        ) from error
    except ValueError as error:  # a circular value is a ValueError too, and a bug
        if "JSON compliant" not in str(error):
            raise
        raise StrictJSONError("NaN and infinity are not JSON numbers") from error


def build(cls: type[T], value: Any, where: str = "") -> T:
    """A ``cls`` made from plain JSON values, every field checked against its annotation.

    Understands dataclasses, ``str``, ``int``, ``float``, ``bool``, ``None``, ``Literal``, unions of
    these, ``tuple[X, ...]``, fixed tuples and ``dict[str, X]``. An integer is taken for a float,
    never a float for an integer.

    Raises:
        StrictJSONError: Naming the path of the first value that does not fit.
    """
    return typing.cast(T, _convert(cls, value, where))


def _check_depth(text: str) -> None:
    """Counts brackets outside strings before parsing, because the parser recurses."""
    depth, inside, escaped = 0, False, False
    for character in text:
        if inside:
            inside = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            inside, escaped = True, False
        elif character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise StrictJSONError(f"nested deeper than {MAX_DEPTH} levels")
        elif character in "]}":
            depth -= 1


def _plain(value: object) -> dict[str, Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise StrictJSONError(f"key {_shown(name)} appears twice")
        result[name] = value
    return result


def _reject_constant(name: str) -> float:
    raise StrictJSONError(f"{name} is not a JSON number")


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise StrictJSONError(f"{_shorten(text)} is beyond the range of a float")
    return number


def _bounded_integer(text: str) -> int:
    if len(text) > len(str(-MAX_INTEGER)) or abs(int(text)) > MAX_INTEGER:
        raise StrictJSONError(f"{_shorten(text)} is beyond 64 bits")
    return int(text)


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _convert_dataclass(typing.cast(type, kind), value, where)
    if origin in (Union, types.UnionType):
        return _convert_union(kind, value, where)
    if origin is Literal:
        return _convert_literal(kind, value, where)
    if origin is tuple:
        return _convert_tuple(kind, value, where)
    if origin is dict:
        return _convert_dict(kind, value, where)
    return _convert_scalar(kind, value, where)


def _convert_scalar(kind: Any, value: Any, where: str) -> Any:
    if kind not in _SCALARS:
        raise TypeError(f"{kind} has no JSON form")
    if kind is float and type(value) is int and abs(value) <= MAX_INTEGER:
        return float(value)
    _expect(type(value) is kind, _SCALARS[kind], value, where)
    _expect(kind is not float or math.isfinite(value), "finite", value, where)
    return value


def _convert_literal(kind: Any, value: Any, where: str) -> Any:
    choices = typing.get_args(kind)
    known = any(value == choice and type(value) is type(choice) for choice in choices)
    _expect(known, f"one of {list(choices)}", value, where)
    return value


def _convert_union(kind: Any, value: Any, where: str) -> Any:
    members = [member for member in typing.get_args(kind) if member is not type(None)]
    if value is None and len(members) < len(typing.get_args(kind)):
        return None
    problems = []
    for member in members:
        try:
            return _convert(member, value, where)
        except StrictJSONError as error:
            problems.append(str(error))
    raise StrictJSONError("; or ".join(problems))


def _convert_tuple(kind: Any, value: Any, where: str) -> tuple[Any, ...]:
    members = typing.get_args(kind)
    _expect(isinstance(value, (list, tuple)), "a list", value, where)
    if len(members) == 2 and members[1] is Ellipsis:
        members = (members[0],) * len(value)
    if len(members) != len(value):
        raise StrictJSONError(
            f"{where or 'value'} must have {len(members)} entries, not {len(value)}"
        )
    return tuple(
        _convert(member, item, f"{where}[{i}]")
        for i, (member, item) in enumerate(zip(members, value, strict=True))
    )


def _convert_dict(kind: Any, value: Any, where: str) -> dict[str, Any]:
    _expect(isinstance(value, Mapping), "an object", value, where)
    item = typing.get_args(kind)[1]
    return {
        _convert_scalar(str, key, f"a key of {where or 'value'}"): _convert(
            item, entry, _below(where, key)
        )
        for key, entry in value.items()
    }


def _convert_dataclass(cls: type, value: Any, where: str) -> Any:
    _expect(isinstance(value, Mapping), "an object", value, where)
    hints, required = _schema(cls)
    if unknown := [_shown(key) for key in value if key not in hints]:
        raise StrictJSONError(
            f"{where or cls.__name__} has unknown keys: {_shorten(', '.join(unknown))}"
        )
    if missing := [name for name in required if name not in value]:
        raise StrictJSONError(f"{where or cls.__name__} lacks the keys: {', '.join(missing)}")
    return cls(
        **{name: _convert(hints[name], item, _below(where, name)) for name, item in value.items()}
    )


@functools.cache
def _schema(cls: type) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The annotations of a dataclass's fields, and the names of those without a default."""
    hints, fields = typing.get_type_hints(cls), dataclasses.fields(cls)
    required = tuple(
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )
    return {field.name: hints[field.name] for field in fields}, required


def _below(where: str, name: object) -> str:
    shown = name if isinstance(name, str) and name.isidentifier() else _shown(name)
    return _shorten(f"{where}.{shown}" if where else shown, limit=4 * _SHOWN)


def _expect(condition: bool, wanted: str, value: Any, where: str) -> None:
    if not condition:
        raise StrictJSONError(f"{where or 'value'} must be {wanted}, not {_shown(value)}")


def _shown(value: object) -> str:
    """A value in one short line; containers by their kind, because their text may be long and is not the point."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INTEGER:
        return "an integer beyond 64 bits"
    return _shorten(repr(value[:_SHOWN] if isinstance(value, str) else value))


def _shorten(text: str, *, limit: int = _SHOWN) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"
