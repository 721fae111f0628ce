"""``hasattr`` and its kin: members that are asked for by a name in a string."""

from __future__ import annotations

import ast

from conformance.frame import Frame
from conformance.members import attribute_of
from conformance.values import (
    PLAIN,
    UNEXPLAINED,
    ClassOf,
    Instance,
    Module,
    Named,
    Text,
    Truth,
    Unexplained,
    Value,
    Values,
    join,
    one,
)


def by_name(frame: Frame, node: ast.Call, function: str) -> Values:
    """Evaluate ``hasattr``, ``getattr``, ``setattr``; a name must be constant or from a table."""
    owners, names = frame.value(node.args[0]), frame.value(node.args[1])
    rest = [frame.value(each) for each in node.args[2:]]
    if not any(isinstance(each, Module | ClassOf | Instance | Unexplained) for each in owners):
        return PLAIN
    if any(isinstance(each, Unexplained) for each in owners):
        frame.report(
            node, f"{function} is asked of something annotated Any, and nothing says what that is"
        )
        return UNEXPLAINED
    known = [owner for owner in owners if isinstance(owner, Module | ClassOf | Instance)]
    return join(_of_named(frame, node, function, owner, names, rest) for owner in known)


def _of_named(
    frame: Frame,
    node: ast.Call,
    function: str,
    owner: Module | ClassOf | Instance,
    names: Values,
    rest: list[Values],
) -> Values:
    key, static = getattr(owner, "name", ""), not isinstance(owner, Instance)
    texts = _texts(frame, key, names)
    target = frame.analysis.target
    present = [target.has(key, text, static=static) for text in texts]
    if function == "hasattr":
        return one(Truth(present[0])) if len(set(present)) == 1 else PLAIN
    if not texts:
        frame.report(
            node, f"{function} takes a name of {key or 'the package'} that cannot be checked"
        )
        return rest[0] if rest else PLAIN
    if function == "getattr" and rest:
        found = [
            target.value(key, text, static=static)
            for text, has in zip(texts, present, strict=True)
            if has
        ]
        return join([*[each or PLAIN for each in found], *([] if all(present) else rest)])
    return join(attribute_of(frame, node, owner, text) for text in texts)


def _texts(frame: Frame, owner: str, names: Values) -> list[str]:
    """Return the possible names; with only a known beginning, any name that begins so."""
    if any(not isinstance(name, Text | Named) for name in names):
        return []
    offer = frame.analysis.target.everything.classes.get(owner)
    every = sorted((offer.names if offer else None) or ())
    begun = [
        each
        for name in names
        if isinstance(name, Named)
        for each in every
        if each.startswith(name.prefix)
    ]
    return [*(name.text for name in names if isinstance(name, Text)), *begun]


def narrow(frame: Frame, test: ast.expr, *, truth: bool) -> None:
    """Narrow a name to those that the owner has, or lacks, where ``hasattr`` decides it."""
    while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test, truth = test.operand, not truth
    match test:
        case ast.Call(func=ast.Name(id="hasattr"), args=[owner, ast.Name(id=name)]) if (
            name in frame.names
        ):
            for each in frame.value(owner):
                frame.names[name] = frozenset(
                    value
                    for value in frame.names[name]
                    if _has(frame, each, value) in (truth, None)
                )


def _has(frame: Frame, owner: Value, name: Value) -> bool | None:
    if not isinstance(owner, Module | ClassOf | Instance) or not isinstance(name, Text):
        return None
    static = not isinstance(owner, Instance)
    return frame.analysis.target.has(getattr(owner, "name", ""), name.text, static=static)
