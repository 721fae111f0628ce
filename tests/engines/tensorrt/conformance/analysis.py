"""What every expression of our source can be under one version, and what of that the version lacks.

Conditions that the version decides (``hasattr``, the backend's name, what was never assigned) are
decided, and what they exclude is not looked at. Functions are analysed where analysed code mentions
them, with the arguments that it gives; the tables of arguments, results and fields are computed
again from the last round's until they no longer change.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from conformance.annotations import is_any, values_of_annotation
from conformance.sources import Function, Sources
from conformance.target import Target
from conformance.values import NOTHING, UNEXPLAINED, OurFunction, Ours, Values, one

_MOST_ROUNDS = 30


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """A line of our source and what is wrong with it under one version."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


@dataclass(slots=True)
class Tables:
    """The results of a round, by (function, parameter), function, (class, field) and scope."""

    arguments: dict[tuple[str, str], Values] = field(default_factory=dict)
    results: dict[str, Values] = field(default_factory=dict)
    fields: dict[tuple[str, str], Values] = field(default_factory=dict)
    scopes: dict[str, dict[str, Values]] = field(default_factory=dict)
    bases: dict[str, str] = field(default_factory=dict)
    analysed: set[str] = field(default_factory=set)

    def add_argument(self, function: str, name: str, values: Values) -> None:
        """A call gives a parameter these values."""
        self.arguments[function, name] = self.arguments.get((function, name), NOTHING) | values

    def add_result(self, function: str, values: Values) -> None:
        """A function may return these values."""
        self.results[function] = self.results.get(function, NOTHING) | values

    def add_field(self, owner: str, name: str, values: Values) -> None:
        """A field of a class is given these values."""
        self.fields[owner, name] = self.fields.get((owner, name), NOTHING) | values

    def add_name(self, scope: str, name: str, values: Values) -> None:
        """A module, or a function that others are written in, has these values under a name."""
        names = self.scopes.setdefault(scope, {})
        names[name] = names.get(name, NOTHING) | values


@dataclass(slots=True)
class Analysis:
    """One version's analysis; ``uses`` are the members that our source takes of the package."""

    sources: Sources
    target: Target
    known: Tables = field(default_factory=Tables)
    found: Tables = field(default_factory=Tables)
    waiting: list[str] = field(default_factory=list)
    uses: set[tuple[str, str]] = field(default_factory=set)
    problems: set[Problem] = field(default_factory=set)

    def reach(self, key: str) -> None:
        """Has a function analysed in this round."""
        if key not in self.found.analysed:
            self.found.analysed.add(key)
            self.waiting.append(key)

    def reach_class(self, key: str) -> None:
        """Has the methods analysed that others can call on an object of this class."""
        for name, method in self.sources.classes[key].methods.items():
            function = self.sources.functions[method]
            if (
                not name.startswith("_")
                or name.startswith("__")
                or not self.sources.is_used(function)
            ):
                self.reach(method)

    def report(self, module: str, node: ast.AST, text: str) -> None:
        """Keeps a problem of a line."""
        name = self.sources.modules[module].path.name
        self.problems.add(Problem(file=name, line=getattr(node, "lineno", 0), text=text))

    def result(self, function: Function) -> Values:
        """What a call gives; its annotation says so where the body does not."""
        values = self.known.results.get(function.key, NOTHING)
        if values or function.key not in self.known.analysed:
            return values
        annotation = function.node.returns
        return UNEXPLAINED if is_any(annotation) else values_of_annotation(annotation, self)

    def parameter(self, function: Function, node: ast.arg, position: int) -> Values:
        """Return what a parameter can be: by its class, by the calls, by annotation or by name."""
        if position == 0 and function.receives_owner and function.owner:
            return one(Ours(function.owner))
        given = self.known.arguments.get((function.key, node.arg), NOTHING)
        if given - UNEXPLAINED == given and given:
            return given
        if not is_any(node.annotation):
            return (given - UNEXPLAINED) | values_of_annotation(node.annotation, self)
        by_name = self.target.parameter(node.arg)
        return given | UNEXPLAINED if by_name is None else (given - UNEXPLAINED) | by_name

    def field_of(self, key: str, name: str) -> Values | None:
        """What a field or method of one of our classes is; None if it has none of this name."""
        owner = self.sources.classes[key]
        if name in owner.methods:
            function = self.sources.functions[owner.methods[name]]
            self.reach(function.key)
            is_value = function.decorators & {"property", "cached_property"}
            return self.result(function) if is_value else one(OurFunction(function.key, key))
        if name in self.target.module_attributes and name in owner.annotations:
            return self.target.parameter(name)
        assigned = self.known.fields.get((key, name), NOTHING)
        if assigned - UNEXPLAINED:
            return assigned
        annotation = owner.annotations.get(name)
        if annotation is None:
            return assigned or None
        return UNEXPLAINED if is_any(annotation) else values_of_annotation(annotation, self)

    def base_of(self, key: str) -> str | None:
        """The package's class that one of ours extends."""
        return self.known.bases.get(key)


def analysed(sources: Sources, target: Target) -> Analysis:
    """The analysis of the source under a version, once nothing changes any more."""
    known = Tables()
    for _ in range(_MOST_ROUNDS):
        analysis = Analysis(sources=sources, target=target, known=known)
        _round(analysis)
        if analysis.found == known:
            return analysis
        known = analysis.found
    raise RuntimeError(f"the analysis under {target.catalogue.label} does not end")


def _round(analysis: Analysis) -> None:
    from conformance.statements import run_function, run_module

    for module in analysis.sources.modules.values():
        run_module(analysis, module)
    for key, function in analysis.sources.functions.items():
        if (
            function.owner is None
            and function.outer is None
            and not analysis.sources.is_used(function)
        ):
            analysis.reach(key)
    for key, owner in analysis.sources.classes.items():
        if not analysis.sources.is_used(owner):
            analysis.reach_class(key)
    while analysis.waiting:
        run_function(analysis, analysis.sources.functions[analysis.waiting.pop()])
