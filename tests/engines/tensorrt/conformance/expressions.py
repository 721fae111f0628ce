"""The values of expressions; operands that the version excludes are not looked at."""

from __future__ import annotations

import ast

from conformance.binding import at, bind
from conformance.frame import Frame, handles
from conformance.members import attribute_of
from conformance.values import (
    NIL,
    NOTHING,
    PLAIN,
    Backend,
    Bound,
    ClassOf,
    Instance,
    Module,
    Named,
    OurFunction,
    Row,
    Text,
    Truth,
    Values,
    contents,
    decided,
    elements,
    holder,
    join,
    one,
)


@handles(ast.Constant)
def _constant(_frame: Frame, node: ast.Constant) -> Values:
    if node.value is None:
        return NIL
    return one(Text(node.value)) if isinstance(node.value, str) else PLAIN


@handles(ast.JoinedStr)
def _formatted(frame: Frame, node: ast.JoinedStr) -> Values:
    for part in node.values:
        frame.value(part.value if isinstance(part, ast.FormattedValue) else part)
    first = node.values[0] if node.values else None
    return (
        one(Named(first.value))
        if isinstance(first, ast.Constant) and isinstance(first.value, str)
        else PLAIN
    )


@handles(ast.Name)
def _name(frame: Frame, node: ast.Name) -> Values:
    values = _looked_up(frame, node.id)
    for value in values:
        if isinstance(value, OurFunction):
            frame.analysis.reach(value.key)
    return values


@handles(ast.Attribute)
def _attribute(frame: Frame, node: ast.Attribute) -> Values:
    return join(attribute_of(frame, node, value, node.attr) for value in frame.value(node.value))


@handles(ast.Subscript)
def _subscript(frame: Frame, node: ast.Subscript) -> Values:
    values, index = frame.value(node.value), node.slice
    frame.value(index)
    if isinstance(index, ast.Slice):
        return values
    if isinstance(index, ast.Constant) and isinstance(index.value, int):
        return join(at(value, index.value) for value in values)
    for value in values:
        if isinstance(value, ClassOf) and frame.analysis.target.everything.is_enumeration(
            value.name
        ):
            frame.report(
                node, f"{value.name}[...] looks a name up that cannot be checked; use getattr"
            )
    return contents(values)


@handles(ast.Tuple)
def _tuple(frame: Frame, node: ast.Tuple) -> Values:
    items = tuple(frame.value(item) for item in node.elts)
    if any(isinstance(item, ast.Starred) for item in node.elts):
        return holder(join(items))
    return one(Row(items))


@handles(ast.List, ast.Set)
def _list(frame: Frame, node: ast.List | ast.Set) -> Values:
    return holder(join(frame.value(item) for item in node.elts))


@handles(ast.Starred)
def _starred(frame: Frame, node: ast.Starred) -> Values:
    return elements(frame.value(node.value))


@handles(ast.Dict)
def _dict(frame: Frame, node: ast.Dict) -> Values:
    keys = join(frame.value(key) for key in node.keys if key is not None)
    merged = [
        contents(frame.value(value))
        for key, value in zip(node.keys, node.values, strict=True)
        if key is None
    ]
    given = [
        frame.value(value)
        for key, value in zip(node.keys, node.values, strict=True)
        if key is not None
    ]
    return holder(join([*given, *merged]), keys)


@handles(ast.IfExp)
def _conditional(frame: Frame, node: ast.IfExp) -> Values:
    condition = decided(frame.value(node.test))
    parts = [node.body] if condition is not False else []
    parts += [node.orelse] if condition is not True else []
    return join([frame.value(part) for part in parts])


@handles(ast.BoolOp)
def _all_or_any(frame: Frame, node: ast.BoolOp) -> Values:
    """Operands after one that decides the whole are not looked at."""
    ends = isinstance(node.op, ast.Or)
    values: list[Values] = []
    for operand in node.values:
        values.append(frame.value(operand))
        if decided(values[-1]) is ends:
            return values[-1] if all(decided(each) is not None for each in values) else join(values)
    undecided = [each for each in values if decided(each) is None]
    return join(undecided) if undecided else values[-1]


@handles(ast.UnaryOp)
def _unary(frame: Frame, node: ast.UnaryOp) -> Values:
    truth = decided(frame.value(node.operand))
    return one(Truth(not truth)) if isinstance(node.op, ast.Not) and truth is not None else PLAIN


@handles(ast.Compare)
def _comparison(frame: Frame, node: ast.Compare) -> Values:
    left, rights = frame.value(node.left), [frame.value(each) for each in node.comparators]
    _check_numbers(frame, node, [left, *rights])
    if len(rights) != 1:
        return PLAIN
    operator, right = node.ops[0], rights[0]
    if isinstance(operator, ast.Is | ast.IsNot) and right == NIL:
        return _is_none(left, negated=isinstance(operator, ast.IsNot))
    if left == one(Backend()) and frame.analysis.target.backend is not None:
        return _is_backend(frame.analysis.target.backend, operator, right)
    return PLAIN


@handles(ast.ListComp, ast.SetComp, ast.GeneratorExp)
def _comprehension(frame: Frame, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Values:
    inner = _iterating(frame, node.generators)
    return holder(inner.value(node.elt)) if inner else holder(NOTHING)


@handles(ast.DictComp)
def _mapping_comprehension(frame: Frame, node: ast.DictComp) -> Values:
    inner = _iterating(frame, node.generators)
    return (
        holder(inner.value(node.value), inner.value(node.key))
        if inner
        else holder(NOTHING, NOTHING)
    )


@handles(ast.NamedExpr)
def _named(frame: Frame, node: ast.NamedExpr) -> Values:
    values = frame.value(node.value)
    frame.names[node.target.id] = values
    return values


@handles(ast.Lambda)
def _lambda(frame: Frame, node: ast.Lambda) -> Values:
    parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    known = frame.analysis.target
    names = {each.arg: known.parameter(each.arg) or PLAIN for each in parameters}
    inner = Frame(frame.analysis, frame.module, frame.function, {**frame.names, **names})
    return holder(inner.value(node.body))


@handles(ast.Await)
def _awaited(frame: Frame, node: ast.Await) -> Values:
    return frame.value(node.value)


def _looked_up(frame: Frame, name: str) -> Values:
    if name in frame.names:
        return frame.names[name]
    outer = frame.function.outer if frame.function else None
    while outer is not None:
        if name in frame.scope(outer):
            return frame.scope(outer)[name]
        outer = frame.analysis.sources.functions[outer].outer
    return frame.scope(frame.module).get(name, PLAIN)


def _iterating(frame: Frame, generators: list[ast.comprehension]) -> Frame | None:
    """The names inside a comprehension; None if a condition excludes everything."""
    inner = Frame(frame.analysis, frame.module, frame.function, dict(frame.names))
    for generator in generators:
        bind(inner, generator.target, elements(inner.value(generator.iter)))
        for condition in generator.ifs:
            if decided(inner.value(condition)) is False:
                return None
    return inner


def _is_none(left: Values, *, negated: bool) -> Values:
    if left == NIL:
        return one(Truth(not negated))
    if left and all(isinstance(value, Bound | ClassOf | Module | OurFunction) for value in left):
        return one(Truth(negated))
    return PLAIN


def _is_backend(backend: str, operator: ast.cmpop, right: Values) -> Values:
    texts = [value.text for value in right | elements(right) if isinstance(value, Text)]
    if not texts or isinstance(operator, ast.Is | ast.IsNot):
        return PLAIN
    is_one = backend in texts
    return one(Truth(is_one if isinstance(operator, ast.Eq | ast.In) else not is_one))


def _check_numbers(frame: Frame, node: ast.Compare, sides: list[Values]) -> None:
    known = frame.analysis.target.everything
    kinds = [value.name for side in sides for value in side if isinstance(value, Instance)]
    numbers = [each for each in [node.left, *node.comparators] if isinstance(each, ast.Constant)]
    if any(isinstance(each.value, int) for each in numbers) and (
        named := list(filter(known.is_enumeration, kinds))
    ):
        frame.report(
            node, f"a {named[0]} is compared with an integer; integers differ between versions"
        )
