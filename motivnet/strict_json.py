"""JSON that means one thing only: no duplicate or unknown keys, no floats for integers, bounded in size and depth.

The standard parser keeps the last of two equal keys, reads ``1e999`` as infinity and ``NaN`` as a number;
a manifest or a configuration must not depend on which of two readers opened it (RFC 8259, section 4).
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union

MAX_BYTES = 1_000_000
MAX_DEPTH = 16

T = TypeVar("T")


class StrictJSONError(ValueError):
    """The text is not JSON, or not the JSON that was expected; the message names the place."""


def loads(data: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """The value of a UTF-8 JSON document.

    Raises:
        StrictJSONError: On a duplicate key, a number that is not finite, bytes that are not UTF-8,
            more than ``max_bytes`` bytes or a nesting deeper than ``MAX_DEPTH``.
    """
    if len(data) > max_bytes:
        raise StrictJSONError(f"{len(data)} bytes are more than the {max_bytes} allowed")
    try:
        text = data.decode("utf-8")
        _check_depth(text)
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_reject_constant, parse_float=_finite_float)
    except UnicodeDecodeError as error:
        raise StrictJSONError(f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise StrictJSONError(f"not JSON at line {error.lineno}: {error.msg}") from error
    except ValueError as error:  # includes integers of more digits than Python converts
        raise error if isinstance(error, StrictJSONError) else StrictJSONError(str(error)) from error


def dumps(value: object) -> bytes:
    """UTF-8 JSON of a dataclass or a plain value, indented, with a final newline; refuses NaN and infinity."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def build(cls: type[T], value: Any, where: str = "") -> T:
    """A ``cls`` made from plain JSON values, every field checked against its annotation.

    Understands dataclasses, ``str``, ``int``, ``float``, ``bool``, ``None``, ``Literal``, unions of these,
    ``tuple[X, ...]``, fixed tuples and ``dict[str, X]``. An integer is taken for a float, never a float for an integer.

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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise StrictJSONError(f"key {next(n for n in names if names.count(n) > 1)!r} appears twice")
    return result


def _reject_constant(name: str) -> float:
    raise StrictJSONError(f"{name} is not a JSON number")


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise StrictJSONError(f"{text} is beyond the range of a float")
    return number


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _convert_dataclass(typing.cast(type, kind), value, where)
    if origin in (Union, types.UnionType):
        return _convert_union(kind, value, where)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in typing.get_args(kind)):
            return value
        raise StrictJSONError(f"{where or 'value'} must be one of {list(typing.get_args(kind))}, not {value!r}")
    if origin is tuple:
        return _convert_tuple(kind, value, where)
    if origin is dict:
        _expect(isinstance(value, dict), "an object", value, where)
        item = typing.get_args(kind)[1]
        return {key: _convert(item, entry, f"{where}.{key}") for key, entry in value.items()}
    return _convert_scalar(kind, value, where)


def _convert_scalar(kind: Any, value: Any, where: str) -> Any:
    names = {str: "a string", int: "an integer", float: "a number", bool: "true or false", type(None): "null"}
    if kind is float and type(value) is int:
        return float(value)
    _expect(type(value) is kind, names[kind], value, where)
    return value


def _convert_union(kind: Any, value: Any, where: str) -> Any:
    members = typing.get_args(kind)
    if value is None and type(None) in members:
        return None
    problems = []
    for member in members:
        if member is type(None):
            continue
        try:
            return _convert(member, value, where)
        except StrictJSONError as error:
            problems.append(str(error))
    raise StrictJSONError(problems[0])


def _convert_tuple(kind: Any, value: Any, where: str) -> tuple[Any, ...]:
    members = typing.get_args(kind)
    _expect(isinstance(value, (list, tuple)), "a list", value, where)
    if len(members) == 2 and members[1] is Ellipsis:
        members = (members[0],) * len(value)
    if len(members) != len(value):
        raise StrictJSONError(f"{where or 'value'} must have {len(members)} entries, not {len(value)}")
    return tuple(
        _convert(member, item, f"{where}[{i}]") for i, (member, item) in enumerate(zip(members, value, strict=True))
    )


def _convert_dataclass(cls: type, value: Any, where: str) -> Any:
    _expect(isinstance(value, Mapping), "an object", value, where)
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    required = {
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    if unknown := sorted(set(value) - set(fields)):
        raise StrictJSONError(f"{where or cls.__name__} has unknown keys: {', '.join(unknown)}")
    if missing := sorted(required - set(value)):
        raise StrictJSONError(f"{where or cls.__name__} lacks the keys: {', '.join(missing)}")
    prefix = f"{where}." if where else ""
    return cls(**{name: _convert(hints[name], item, prefix + name) for name, item in value.items()})


def _expect(condition: bool, wanted: str, value: Any, where: str) -> None:
    if not condition:
        shown = repr(value)
        raise StrictJSONError(f"{where or 'value'} must be {wanted}, not {shown[:60]}")
