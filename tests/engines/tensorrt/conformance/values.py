"""What an expression of our source can be, as far as the package under test is concerned.

Each expression has a set of these. An empty set is an expression that no analysed call has reached
yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_DEEPEST = 3
_MOST_TEXTS = 48


@dataclass(frozen=True, slots=True)
class Plain:
    """Nothing of the package."""


@dataclass(frozen=True, slots=True)
class Unexplained:
    """Annotated ``Any``, and nothing says what it is."""


@dataclass(frozen=True, slots=True)
class Nil:
    """None."""


@dataclass(frozen=True, slots=True)
class Module:
    """The package itself."""


@dataclass(frozen=True, slots=True)
class ClassOf:
    """A class of the package, such as ``trt.BuilderFlag``."""

    name: str


@dataclass(frozen=True, slots=True)
class Instance:
    """An object of a class of the package, enumeration members among them."""

    name: str


@dataclass(frozen=True, slots=True)
class Bound:
    """A method of an object of the package; a function of the package where ``owner`` is empty."""

    owner: str
    name: str


@dataclass(frozen=True, slots=True)
class Ours:
    """An object of a class in our source."""

    key: str


@dataclass(frozen=True, slots=True)
class OurClass:
    """A class in our source."""

    key: str


@dataclass(frozen=True, slots=True)
class OurFunction:
    """A function in our source; ``owner`` is the class of the object that it was taken from."""

    key: str
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """A container, iterator or queue of ``items``; of a mapping, these are the values."""

    items: frozenset[Value]
    keys: frozenset[Value] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A tuple whose elements are known one by one."""

    items: tuple[frozenset[Value], ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """A condition that is decided by the version, such as ``hasattr(config, "build_route")``."""

    value: bool


@dataclass(frozen=True, slots=True)
class Backend:
    """The name of the package, as our source calls it."""


@dataclass(frozen=True, slots=True)
class Text:
    """A string constant, which may name a member later."""

    text: str


@dataclass(frozen=True, slots=True)
class Named:
    """A text of which only the beginning is known, such as ``f"SM{name}"``."""

    prefix: str


Value = (
    Plain
    | Unexplained
    | Nil
    | Module
    | ClassOf
    | Instance
    | Bound
    | Ours
    | OurClass
    | OurFunction
    | Holder
    | Row
    | Truth
    | Backend
    | Text
    | Named
)
Values = frozenset[Value]

NOTHING: Values = frozenset()
PLAIN: Values = frozenset([Plain()])
NIL: Values = frozenset([Nil()])
UNEXPLAINED: Values = frozenset([Unexplained()])


def one(value: Value) -> Values:
    """The set of this value alone."""
    return frozenset([value])


def join(sets: Iterable[Values]) -> Values:
    """All of them; texts beyond a number that no table of names has become plain."""
    values = frozenset().union(*sets)
    texts = [value for value in values if isinstance(value, Text)]
    return values if len(texts) <= _MOST_TEXTS else (values - frozenset(texts)) | PLAIN


def holder(items: Values, keys: Values | None = None) -> Values:
    """A container of these, no deeper than anything in our source is."""
    return one(Holder(items, keys)) if max(map(_depth, items), default=0) < _DEEPEST else items


def elements(values: Values) -> Values:
    """What iteration gives."""
    return join(_elements(value) for value in values)


def contents(values: Values) -> Values:
    """What a subscript, a lookup or a ``get`` gives."""
    return join(value.items if isinstance(value, Holder) else _elements(value) for value in values)


def is_of_package(value: Value) -> bool:
    """Whether it, or something in it, is the package's, or ours and so may hold what is."""
    if isinstance(value, Holder):
        return any(map(is_of_package, value.items | (value.keys or NOTHING)))
    if isinstance(value, Row):
        return any(is_of_package(each) for item in value.items for each in item)
    return isinstance(value, Module | ClassOf | Instance | Bound | Ours | Unexplained)


def decided(values: Values) -> bool | None:
    """The condition's value for this version; None where something else decides."""
    if values == NIL:
        return False
    truths = {value.value for value in values if isinstance(value, Truth)}
    return truths.pop() if len(truths) == 1 and len(values) == 1 else None


def _elements(value: Value) -> Values:
    if isinstance(value, Holder):
        return value.items if value.keys is None else value.keys
    if isinstance(value, Row):
        return join(value.items)
    return one(value) if isinstance(value, Unexplained) else PLAIN


def _depth(value: Value) -> int:
    if isinstance(value, Holder):
        return 1 + max(map(_depth, value.items | (value.keys or NOTHING)), default=0)
    if isinstance(value, Row):
        return 1 + max((_depth(each) for item in value.items for each in item), default=0)
    return 0
