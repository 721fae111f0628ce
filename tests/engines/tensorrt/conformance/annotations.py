"""What an annotation in our source says of a value."""

from __future__ import annotations

import ast
from typing import Protocol

from conformance.sources import Sources
from conformance.target import Target
from conformance.values import (
    NIL,
    PLAIN,
    UNEXPLAINED,
    Backend,
    Instance,
    Ours,
    Values,
    holder,
    join,
    one,
)

_TRANSPARENT = {"Final", "ClassVar", "Annotated", "Optional"}


class Knowledge(Protocol):
    """What is asked for the meaning of a name."""

    @property
    def sources(self) -> Sources: ...

    @property
    def target(self) -> Target: ...


def is_any(annotation: ast.expr | None) -> bool:
    """Whether it says nothing: left out, ``Any``, or ``Any | None``."""
    if annotation is None:
        return True
    if isinstance(annotation, ast.BinOp):
        return is_any(annotation.left) or is_any(annotation.right)
    return isinstance(annotation, ast.Name) and annotation.id == "Any"


def values_of_annotation(annotation: ast.expr | None, knowledge: Knowledge) -> Values:
    """The values that it allows; of a callable, a container of what it returns."""
    match annotation:
        case ast.Constant(value=str(text)):
            return values_of_annotation(ast.parse(text, mode="eval").body, knowledge)
        case ast.Constant(value=None):
            return NIL | PLAIN
        case ast.Name(id="Any") | None:
            return UNEXPLAINED
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return _named(name, knowledge)
        case ast.BinOp(left=left, right=right):
            return values_of_annotation(left, knowledge) | values_of_annotation(right, knowledge)
        case ast.Subscript(value=ast.Name(id=name), slice=inner):
            return _generic(name, inner, knowledge)
        case _:
            return PLAIN


def _named(name: str, knowledge: Knowledge) -> Values:
    if name == "EngineBackend":
        return one(Backend())
    if key := knowledge.sources.class_named(name):
        return one(Ours(key))
    return one(Instance(name)) if name in knowledge.target.everything.classes else PLAIN


def _generic(name: str, inner: ast.expr, knowledge: Knowledge) -> Values:
    parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name in _TRANSPARENT:
        return values_of_annotation(parts[0], knowledge)
    if name in ("Literal", "NDArray"):
        return PLAIN
    if name == "Callable":
        return holder(values_of_annotation(parts[-1], knowledge))
    if name in ("dict", "Mapping", "MutableMapping", "OrderedDict", "defaultdict"):
        return holder(values_of_annotation(parts[-1], knowledge), PLAIN)
    named = [part for part in parts if not (isinstance(part, ast.Constant) and part.value is ...)]
    return holder(join(values_of_annotation(part, knowledge) for part in named))
