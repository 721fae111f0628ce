"""Statements in order, with the names that each defines, without what conditions exclude."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from conformance import expressions
from conformance.analysis import Analysis
from conformance.binding import bind
from conformance.calls import entered, is_integer
from conformance.frame import Frame
from conformance.naming import narrow
from conformance.sources import Function, SourceModule
from conformance.values import (
    NOTHING,
    PLAIN,
    ClassOf,
    Instance,
    Module,
    OurClass,
    OurFunction,
    Values,
    decided,
    elements,
    holder,
    join,
    one,
)

Executor = Callable[[Frame, Any], bool]


def run_module(analysis: Analysis, module: SourceModule) -> None:
    """The names that a module has once it is imported."""
    frame = Frame(analysis, module.name, None, {})
    run(frame, module.tree.body)
    _merge(analysis.found.scopes.setdefault(module.name, {}), frame.names)


def run_function(analysis: Analysis, function: Function) -> None:
    """A function with the arguments that the last round's calls give it."""
    positions = enumerate(function.parameters)
    names = {each.arg: analysis.parameter(function, each, position) for position, each in positions}
    for extra in filter(None, (function.node.args.vararg, function.node.args.kwarg)):
        names[extra.arg] = PLAIN
    frame = Frame(analysis, function.module, function, names)
    run(frame, function.node.body)
    _merge(analysis.found.scopes.setdefault(function.key, {}), frame.names)


def run(frame: Frame, body: list[ast.stmt]) -> bool:
    """Whether what follows these statements is never reached."""
    for statement in body:
        executor = EXECUTORS.get(type(statement), _others)
        if executor(frame, statement):
            return True
    return False


def _others(frame: Frame, node: ast.stmt) -> bool:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            frame.value(child)
    return isinstance(node, ast.Raise | ast.Continue | ast.Break)


def _return(frame: Frame, node: ast.Return) -> bool:
    _give(frame, frame.value(node.value) if node.value else PLAIN)
    return True


def _give(frame: Frame, values: Values) -> None:
    if frame.function is not None:
        frame.analysis.found.add_result(frame.function.key, values)


def _expression(frame: Frame, node: ast.Expr) -> bool:
    match node.value:
        case ast.Yield(value=inner):
            _give(frame, holder(frame.value(inner)))
        case ast.YieldFrom(value=inner):
            _give(frame, frame.value(inner))
        case other:
            frame.value(other)
    return False


def _assign(frame: Frame, node: ast.Assign) -> bool:
    values = frame.value(node.value)
    for target in node.targets:
        _check_integer(frame, target, node.value)
        bind(frame, target, values)
    return False


def _annotated(frame: Frame, node: ast.AnnAssign) -> bool:
    if node.value is not None:
        bind(frame, node.target, frame.value(node.value))
    return False


def _augmented(frame: Frame, node: ast.AugAssign) -> bool:
    values = frame.value(node.value)
    if isinstance(node.target, ast.Name):
        frame.names[node.target.id] = frame.names.get(node.target.id, NOTHING) | values
    else:
        bind(frame, node.target, values)
    return False


def _if(frame: Frame, node: ast.If) -> bool:
    condition = decided(frame.value(node.test))
    if condition is not None:
        return run(frame, node.body if condition else node.orelse)
    other = dict(frame.names)
    narrow(frame, node.test, truth=True)
    first = run(frame, node.body)
    body, frame.names = frame.names, other
    narrow(frame, node.test, truth=False)
    second = run(frame, node.orelse)
    if second:
        frame.names = body
    elif not first:
        _merge(frame.names, body)
    return first and second


def _assert(frame: Frame, node: ast.Assert) -> bool:
    return decided(frame.value(node.test)) is False


def _for(frame: Frame, node: ast.For | ast.AsyncFor) -> bool:
    values = elements(frame.value(node.iter))
    for _ in range(2):
        before = dict(frame.names)
        bind(frame, node.target, values)
        run(frame, node.body)
        _merge(frame.names, before)
    run(frame, node.orelse)
    return False


def _while(frame: Frame, node: ast.While) -> bool:
    for _ in range(2):
        if decided(frame.value(node.test)) is False:
            break
        before = dict(frame.names)
        run(frame, node.body)
        _merge(frame.names, before)
    run(frame, node.orelse)
    return False


def _with(frame: Frame, node: ast.With | ast.AsyncWith) -> bool:
    for item in node.items:
        values = entered(frame, frame.value(item.context_expr))
        if item.optional_vars is not None:
            bind(frame, item.optional_vars, values)
    return run(frame, node.body)


def _try(frame: Frame, node: ast.Try) -> bool:
    before = dict(frame.names)
    ended = run(frame, [*node.body, *node.orelse])
    after = frame.names
    for handler in node.handlers:
        frame.names = {**before}
        _merge(frame.names, after)
        if handler.type is not None:
            frame.value(handler.type)
        if handler.name is not None:
            frame.names[handler.name] = PLAIN
        if not run(frame, handler.body):
            after, ended = _both(frame.names, {} if ended else after), False
    frame.names = after
    return run(frame, node.finalbody) or ended


def _match(frame: Frame, node: ast.Match) -> bool:
    frame.value(node.subject)
    before, after = dict(frame.names), dict(frame.names)
    for case in node.cases:
        frame.names = dict(before)
        for part in ast.walk(case.pattern):
            if isinstance(part, ast.MatchAs | ast.MatchStar) and part.name:
                frame.names[part.name] = PLAIN
        run(frame, case.body)
        _merge(after, frame.names)
    frame.names = after
    return False


def _function(frame: Frame, node: ast.FunctionDef) -> bool:
    for decorator in node.decorator_list:
        frame.value(decorator)
    key = _key(frame, node.name)
    frame.names[node.name] = one(OurFunction(key))
    if frame.function is not None:
        frame.analysis.reach(key)
    return False


def _class(frame: Frame, node: ast.ClassDef) -> bool:
    key = _key(frame, node.name)
    for base in node.bases:
        for value in frame.value(base):
            if isinstance(value, ClassOf):
                frame.analysis.found.bases[key] = value.name
    frame.names[node.name] = one(OurClass(key))
    for statement in node.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            values = frame.value(statement.value)
            targets = statement.targets if isinstance(statement, ast.Assign) else []
            for target in targets:
                if isinstance(target, ast.Name):
                    frame.analysis.found.add_field(key, target.id, values)
    return False


def _import(frame: Frame, node: ast.Import) -> bool:
    for alias in node.names:
        name = alias.asname or alias.name.partition(".")[0]
        frame.names[name] = (
            one(Module()) if alias.name in frame.analysis.target.module_names else PLAIN
        )
    return False


def _import_from(frame: Frame, node: ast.ImportFrom) -> bool:
    source = (node.module or "").rpartition(".")[2]
    ours = (node.module or "").startswith("motivnet_engines")
    for alias in node.names:
        name = alias.asname or alias.name
        if f"{node.module}.{alias.name}" in frame.analysis.target.module_names:
            frame.names[name] = one(Module())
        elif ours and source in frame.analysis.sources.modules:
            frame.names[name] = frame.scope(source).get(alias.name, NOTHING)
        else:
            frame.names[name] = PLAIN
    return False


def _check_integer(frame: Frame, target: ast.expr, value: ast.expr) -> None:
    """Reports an integer that is assigned where the package has an enumeration."""
    if not isinstance(target, ast.Attribute) or not is_integer(value):
        return
    known = frame.analysis.target.everything
    for owner in frame.value(target.value):
        offer = known.classes.get(owner.name) if isinstance(owner, Instance) else None
        member = offer.members.get(target.attr) if offer else None
        if member is not None and known.is_enumeration(member.type):
            frame.report(target, f"{target.attr} is set to an integer, not to a {member.type}")


def _key(frame: Frame, name: str) -> str:
    return f"{frame.function.key}.{name}" if frame.function else f"{frame.module}:{name}"


def _merge(into: dict[str, Values], other: dict[str, Values]) -> None:
    for name, values in other.items():
        into[name] = into.get(name, NOTHING) | values


def _both(first: dict[str, Values], second: dict[str, Values]) -> dict[str, Values]:
    return {
        name: join([first.get(name, NOTHING), second.get(name, NOTHING)])
        for name in {**first, **second}
    }


EXECUTORS: dict[type[ast.stmt], Executor] = {
    ast.Return: _return,
    ast.Expr: _expression,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.If: _if,
    ast.Assert: _assert,
    ast.For: _for,
    ast.AsyncFor: _for,
    ast.While: _while,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.Try: _try,
    ast.Match: _match,
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class,
    ast.Import: _import,
    ast.ImportFrom: _import_from,
}

__all__ = ["expressions", "run_function", "run_module"]
