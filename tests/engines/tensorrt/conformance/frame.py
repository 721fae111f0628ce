"""The names that are known while a function is analysed, and what evaluates expressions."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from conformance.analysis import Analysis
from conformance.sources import Function
from conformance.values import PLAIN, Values


@dataclass(slots=True)
class Frame:
    """The names of a function, or of a module, while it is analysed."""

    analysis: Analysis
    module: str
    function: Function | None
    names: dict[str, Values]

    def value(self, node: ast.expr | None) -> Values:
        """What an expression can be; everything in it is looked at."""
        if node is None:
            return PLAIN
        handler = HANDLERS.get(type(node))
        if handler is not None:
            return handler(self, node)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child)
        return PLAIN

    def report(self, node: ast.AST, text: str) -> None:
        """Keeps a problem of a line of this module."""
        self.analysis.report(self.module, node, text)

    def scope(self, key: str) -> dict[str, Values]:
        """The names of a module or of the function that another is written in."""
        return self.analysis.known.scopes.get(key, {})


Handler = Callable[[Frame, Any], Values]
HANDLERS: dict[type[ast.expr], Handler] = {}


def handles(*kinds: type[ast.expr]) -> Callable[[Handler], Handler]:
    """Has a function give the values of these expressions."""

    def registered(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(kinds, handler))
        return handler

    return registered
