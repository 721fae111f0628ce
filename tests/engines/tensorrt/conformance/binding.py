"""What assignments leave in names, fields, containers and the package's properties."""

from __future__ import annotations

import ast

from conformance.frame import Frame
from conformance.members import attribute_of, member_of
from conformance.values import (
    PLAIN,
    Instance,
    Ours,
    Row,
    Unexplained,
    Value,
    Values,
    contents,
    holder,
    join,
    one,
)


def bind(frame: Frame, target: ast.expr, values: Values) -> None:
    """Assign values to a name, a field or the parts of a tuple; properties must be settable."""
    match target:
        case ast.Name(id=name):
            frame.names[name] = values
        case ast.Starred(value=inner):
            bind(frame, inner, holder(values))
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for index, part in enumerate(parts):
                bind(frame, part, join(at(value, index) for value in values))
        case ast.Attribute(value=owner, attr=name):
            for each in frame.value(owner):
                _assign(frame, target, each, name, values)
        case ast.Subscript(value=owner):
            frame.value(target.slice)
            put_into(frame, owner, values)


def put_into(frame: Frame, owner: ast.expr, values: Values) -> None:
    """Remembers that a container now holds these too."""
    held = holder(values)
    match owner:
        case ast.Name(id=name) if name in frame.names:
            frame.names[name] = frame.names[name] | held
        case ast.Name(id=name):
            frame.analysis.found.add_name(frame.module, name, held)
        case ast.Attribute(value=inner, attr=name):
            for each in frame.value(inner):
                if isinstance(each, Ours):
                    frame.analysis.found.add_field(each.key, name, held)


def _assign(frame: Frame, node: ast.AST, value: Value, name: str, values: Values) -> None:
    if isinstance(value, Ours):
        base = frame.analysis.base_of(value.key)
        if base is None or not frame.analysis.target.has(base, name, static=False):
            frame.analysis.found.add_field(value.key, name, values)
            return
    if isinstance(value, Instance):
        member_of(frame, node, value.name, name, static=False)
        offer = frame.analysis.target.catalogue.classes.get(value.name)
        member = offer.members.get(name) if offer else None
        if member is not None and member.kind == "property" and not member.settable:
            frame.report(
                node,
                f"{frame.analysis.target.catalogue.label} does not let {value.name}.{name} be set",
            )
    elif isinstance(value, Unexplained):
        attribute_of(frame, node, value, name)


def at(value: Value, index: int) -> Values:
    if isinstance(value, Row):
        return value.items[index] if -len(value.items) <= index < len(value.items) else PLAIN
    return contents(one(value))
