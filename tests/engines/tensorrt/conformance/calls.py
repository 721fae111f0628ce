"""What calls give, and whether this version takes their arguments."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from conformance.binding import put_into
from conformance.catalogue import Signature
from conformance.frame import Frame, handles
from conformance.members import CONTAINER_METHODS, attribute_of
from conformance.naming import by_name
from conformance.sources import Class, Function
from conformance.values import (
    NOTHING,
    PLAIN,
    UNEXPLAINED,
    Bound,
    ClassOf,
    Holder,
    Instance,
    Module,
    Nil,
    OurClass,
    OurFunction,
    Ours,
    Row,
    Text,
    Unexplained,
    Value,
    Values,
    contents,
    elements,
    holder,
    is_of_package,
    join,
    one,
)

_SAME_ELEMENTS = {
    *("list", "tuple", "set", "frozenset", "sorted", "reversed", "iter", "deque", "cast"),
}
_NOTHING_OF_PACKAGE = {
    *("len", "int", "str", "bool", "bytes", "bytearray", "memoryview", "float", "repr"),
    *("isinstance", "issubclass", "id", "print", "range", "sum", "any", "all", "type", "hash"),
    *("abs", "divmod", "callable", "super", "format"),
}


@dataclass(frozen=True, slots=True)
class Arguments:
    """A call's nodes and values; ``complete`` unless ``*`` or ``**`` hides some."""

    nodes: tuple[ast.expr, ...]
    positional: tuple[Values, ...]
    named: dict[str, Values]
    named_nodes: dict[str, ast.expr]
    complete: bool

    @property
    def all(self) -> Values:
        """Every value that is given."""
        return join([*self.positional, *self.named.values()])


@handles(ast.Call)
def _call(frame: Frame, node: ast.Call) -> Values:
    match node.func:
        case ast.Name(id="hasattr" | "getattr" | "setattr" as name) if len(node.args) >= 2:
            return by_name(frame, node, name)
        case ast.Attribute(attr=name) if name in CONTAINER_METHODS:
            return _container_method(frame, node, node.func)
        case ast.Attribute(attr="import_module") if node.args:
            return _imported(frame, node)
    callees = frame.value(node.func)
    given = _arguments(frame, node)
    if isinstance(node.func, ast.Name) and not any(map(_is_callable, callees)):
        return _builtin(frame, node.func.id, given)
    return join(_called(frame, node, callee, given) for callee in callees)


def called_with(
    frame: Frame, node: ast.Call, callee: Value, positional: tuple[Values, ...]
) -> Values:
    """What a callee gives for these arguments."""
    return _called(frame, node, callee, Arguments((), positional, {}, {}, complete=False))


def _called(frame: Frame, node: ast.Call, callee: Value, given: Arguments) -> Values:
    match callee:
        case Bound(owner, name):
            return _package_call(frame, node, owner, name, given)
        case ClassOf(name):
            return _construction(frame, node, name, given)
        case OurFunction(key, owner):
            return _our_call(
                frame, frame.analysis.sources.functions[key], given, bound=owner is not None
            )
        case OurClass(key):
            return _our_object(frame, frame.analysis.sources.classes[key], given)
        case Holder(items):
            return join(
                _called(frame, node, item, given) if _is_callable(item) else one(item)
                for item in items
            )
        case Unexplained():
            return UNEXPLAINED
        case Nil():
            return NOTHING
        case _:
            return _of_arguments(given)


def _package_call(frame: Frame, node: ast.Call, owner: str, name: str, given: Arguments) -> Values:
    target = frame.analysis.target
    offer = target.catalogue.classes.get(owner)
    member = (
        (offer.members.get(name) if offer else None)
        if owner
        else target.catalogue.functions.get(name)
    )
    if member is not None:
        _check(frame, node, f"{owner}.{name}" if owner else name, member.signatures, given)
    known = (
        target.everything.classes[owner].members[name]
        if owner
        else target.everything.functions[name]
    )
    return join(target.typed(way.returns, many=way.many) for way in known.signatures) or PLAIN


def _construction(frame: Frame, node: ast.Call, name: str, given: Arguments) -> Values:
    target = frame.analysis.target
    offer = target.catalogue.classes.get(name)
    if target.everything.is_enumeration(name):
        frame.report(node, f"a {name} is made of an integer; integers differ between versions")
    elif offer is not None and "__init__" in offer.members:
        _check(frame, node, name, offer.members["__init__"].signatures, given)
    return one(Instance(name))


def _check(
    frame: Frame, node: ast.Call, name: str, ways: tuple[Signature, ...], given: Arguments
) -> None:
    """Reports arguments that no way of calling takes, and integers given for an enumeration."""
    if not given.complete or not ways:
        return
    refusals = [way.refuses(len(given.positional), tuple(given.named)) for way in ways]
    if all(refusals):
        frame.report(node, f"{frame.analysis.target.catalogue.label}: {name} {refusals[0]}")
        return
    fitting = [way for way, refusal in zip(ways, refusals, strict=True) if refusal is None]
    wrong = [_integer_for_enumeration(frame, way, given) for way in fitting]
    if all(wrong):
        frame.report(
            node, f"{name} is given an integer for a {wrong[0]}; integers differ between versions"
        )


def _integer_for_enumeration(frame: Frame, way: Signature, given: Arguments) -> str | None:
    by_name = {parameter.name: parameter.type for parameter in way.parameters}
    pairs = [*zip([parameter.type for parameter in way.parameters], given.nodes, strict=False)]
    pairs += [(by_name[name], node) for name, node in given.named_nodes.items()]
    known = frame.analysis.target.everything
    found = (kind for kind, node in pairs if known.is_enumeration(kind) and is_integer(node))
    return next(found, None)


def is_integer(node: ast.expr) -> bool:
    """Whether it is an integer as it stands there."""
    return isinstance(node, ast.Constant) and isinstance(node.value, int)


def _our_call(frame: Frame, function: Function, given: Arguments, *, bound: bool) -> Values:
    frame.analysis.reach(function.key)
    names = [each.arg for each in function.parameters]
    skipped = 1 if bound and function.receives_owner else 0
    _remember(frame, function, names[skipped:], given)
    return frame.analysis.result(function)


def _remember(frame: Frame, function: Function, names: list[str], given: Arguments) -> None:
    found = frame.analysis.found
    for name, values in [*zip(names, given.positional, strict=False), *given.named.items()]:
        found.add_argument(function.key, name, values)
    defaults = _defaults(function)
    for name in set(names[len(given.positional) :]) - set(given.named):
        if name in defaults and given.complete:
            found.add_argument(function.key, name, frame.value(defaults[name]))


def _defaults(function: Function) -> dict[str, ast.expr]:
    given = function.node.args
    positional = [*given.posonlyargs, *given.args]
    late = zip(positional[len(positional) - len(given.defaults) :], given.defaults, strict=True)
    named = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    return {each.arg: default for each, default in [*late, *named] if default is not None}


def _our_object(frame: Frame, owner: Class, given: Arguments) -> Values:
    frame.analysis.reach_class(owner.key)
    if "__init__" in owner.methods:
        _our_call(
            frame, frame.analysis.sources.functions[owner.methods["__init__"]], given, bound=True
        )
    else:
        for name, values in [
            *zip(owner.annotations, given.positional, strict=False),
            *given.named.items(),
        ]:
            frame.analysis.found.add_field(owner.key, name, values)
    return one(Ours(owner.key))


def _of_arguments(given: Arguments) -> Values:
    """Return what a foreign function may return: any of the package's objects among them."""
    kept = frozenset(value for value in given.all if is_of_package(value))
    return holder(kept) if kept else PLAIN


def _builtin(frame: Frame, name: str, given: Arguments) -> Values:
    first = given.positional[0] if given.positional else NOTHING
    if name in _NOTHING_OF_PACKAGE:
        return PLAIN
    if name in _SAME_ELEMENTS:
        return holder(join(map(elements, given.positional)))
    if name in ("next", "min", "max"):
        return join(map(elements, given.positional))
    if name == "enumerate":
        return holder(one(Row((PLAIN, elements(first)))))
    if name == "zip":
        return holder(one(Row(tuple(map(elements, given.positional)))))
    if name == "map":
        rest = tuple(map(elements, given.positional[1:]))
        call = ast.Call(func=ast.Name(id="map"), args=[], keywords=[], lineno=0)
        return holder(join(called_with(frame, call, callee, rest) for callee in first))
    if name == "filter":
        return holder(elements(given.positional[-1])) if given.positional else PLAIN
    return _of_arguments(given)


def _container_method(frame: Frame, node: ast.Call, function: ast.Attribute) -> Values:
    """Evaluate a method that containers and other objects may have, by the receiver."""
    receiver, given = frame.value(function.value), _arguments(frame, node)
    kept = frozenset(value for value in given.all if is_of_package(value))
    results = []
    for value in receiver or PLAIN:
        if not isinstance(value, Holder | Row) and value not in PLAIN:
            callees = attribute_of(frame, function, value, function.attr)
            results += [_called(frame, node, callee, given) for callee in callees]
        elif function.attr == "enter_context":
            results.append(entered(frame, given.all))
        else:
            results.append(_of_container(value, function.attr) | kept)
    if kept and receiver & PLAIN | frozenset(
        value for value in receiver if isinstance(value, Holder)
    ):
        put_into(frame, function.value, kept)
    return join(results)


def entered(frame: Frame, values: Values) -> Values:
    """What ``with`` gives of these: what ``__enter__`` returns, or what a generator yields."""
    results = []
    for value in values:
        method = (
            frame.analysis.sources.classes[value.key].methods.get("__enter__")
            if isinstance(value, Ours)
            else None
        )
        if method is not None:
            frame.analysis.reach(method)
        results.append(contents(one(value)) if isinstance(value, Holder) else one(value))
    return join(results)


def _of_container(value: Value, name: str) -> Values:
    if not isinstance(value, Holder):
        return contents(one(value))
    if name == "items":
        return holder(one(Row((value.keys or PLAIN, value.items))))
    if name == "keys":
        return holder(value.keys or PLAIN)
    if name == "values":
        return holder(value.items)
    return one(value) if name in ("copy", "pop_all") else value.items


def _imported(frame: Frame, node: ast.Call) -> Values:
    names = frame.value(node.args[0])
    known = frame.analysis.target.module_names
    return (
        one(Module())
        if any(isinstance(each, Text) and each.text in known for each in names)
        else PLAIN
    )


def _arguments(frame: Frame, node: ast.Call) -> Arguments:
    positional = tuple(frame.value(each) for each in node.args)
    named = {each.arg: frame.value(each.value) for each in node.keywords if each.arg is not None}
    hidden = [each.value for each in node.keywords if each.arg is None]
    for each in hidden:
        frame.value(each)
    starred = any(isinstance(each, ast.Starred) for each in node.args)
    nodes = {each.arg: each.value for each in node.keywords if each.arg is not None}
    return Arguments(
        tuple(node.args), positional, named, nodes, complete=not hidden and not starred
    )


def _is_callable(value: Value) -> bool:
    return isinstance(value, Bound | ClassOf | OurFunction | OurClass | Holder | Unexplained)
