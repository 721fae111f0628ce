"""What an attribute is, and whether this version has it."""

from __future__ import annotations

import ast

from conformance.frame import Frame
from conformance.values import (
    NOTHING,
    PLAIN,
    UNEXPLAINED,
    Backend,
    ClassOf,
    Holder,
    Instance,
    Module,
    Nil,
    OurClass,
    Ours,
    Plain,
    Row,
    Unexplained,
    Value,
    Values,
    holder,
    join,
    one,
)

CONTAINER_METHODS = {
    *("append", "appendleft", "add", "extend", "put", "put_nowait", "push", "insert", "update"),
    *("callback", "clear", "pop", "popleft", "popitem", "get", "get_nowait", "setdefault"),
    *("values", "items", "keys", "copy", "remove", "pop_all", "close", "enter_context", "empty"),
    *("qsize", "join", "result", "submit", "acquire", "release", "wait"),
}


def attribute_of(frame: Frame, node: ast.AST, value: Value, name: str) -> Values:
    """What an attribute is, with a problem if this version has none."""
    match value:
        case Module() | ClassOf() | Instance():
            return member_of(
                frame,
                node,
                getattr(value, "name", ""),
                name,
                static=not isinstance(value, Instance),
            )
        case Ours(key):
            return _of_ours(frame, node, key, name)
        case Unexplained():
            frame.report(
                node, f".{name} is taken of something annotated Any, and nothing says what that is"
            )
            return UNEXPLAINED
        case Holder(items) if name not in CONTAINER_METHODS:
            return join(attribute_of(frame, node, item, name) for item in items) or PLAIN
        case _:
            return _of_others(frame, value, name)


def _of_others(frame: Frame, value: Value, name: str) -> Values:
    if isinstance(value, Nil):
        return NOTHING
    if isinstance(value, OurClass):
        return frame.analysis.field_of(value.key, name) or PLAIN
    if isinstance(value, Plain | Holder | Row):
        return one(Backend()) if name == "backend" else _perhaps_ours(frame, name)
    return PLAIN


def member_of(frame: Frame, node: ast.AST, owner: str, name: str, *, static: bool) -> Values:
    """A member of the package, with a problem if this version lacks it."""
    target = frame.analysis.target
    if name.startswith("__"):
        return holder(one(Instance(owner)), PLAIN) if name == "__members__" else PLAIN
    if name == "value" and target.everything.is_enumeration(owner) and not static:
        frame.report(node, f"the integer of a {owner} is taken; integers differ between versions")
    frame.analysis.uses.add((owner, name))
    if not target.has(owner, name, static=static):
        frame.report(node, f"{target.catalogue.label} has no {f'{owner}.' if owner else ''}{name}")
    return target.value(owner, name, static=static) or PLAIN


def _of_ours(frame: Frame, node: ast.AST, key: str, name: str) -> Values:
    values = frame.analysis.field_of(key, name)
    base = frame.analysis.base_of(key)
    if values is not None or base is None:
        return PLAIN if values is None else values
    return member_of(frame, node, base, name, static=False)


def _perhaps_ours(frame: Frame, name: str) -> Values:
    """An object that was lost sight of may be one of ours: its method is analysed all the same."""
    for method in frame.analysis.sources.methods_named(name):
        frame.analysis.reach(method.key)
    return PLAIN
