"""Our source as the analysis sees it: modules, classes and functions, each under one key."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function or method; ``outer`` is the key of the function that it is written in."""

    key: str
    module: str
    node: FunctionNode
    owner: str | None
    outer: str | None

    @property
    def decorators(self) -> set[str]:
        """Their last names, such as ``contextmanager``."""
        return {_last_name(each) for each in self.node.decorator_list}

    @property
    def parameters(self) -> list[ast.arg]:
        """Those that a call can give by position, then those by name alone."""
        given = self.node.args
        return [*given.posonlyargs, *given.args, *given.kwonlyargs]

    @property
    def receives_owner(self) -> bool:
        """Whether its first parameter is the object or the class."""
        return self.owner is not None and "staticmethod" not in self.decorators

    @property
    def is_generator(self) -> bool:
        """Whether it yields."""
        return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own_nodes(self.node))


@dataclass(frozen=True, slots=True, kw_only=True)
class Class:
    """A class with its methods' keys and the annotations of its fields."""

    key: str
    module: str
    node: ast.ClassDef
    methods: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, ast.expr] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceModule:
    """A file; ``name`` is the last part of its module's name."""

    name: str
    path: Path
    tree: ast.Module


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Every analysed file; ``used`` are the names that something loads, with their modules."""

    modules: dict[str, SourceModule]
    functions: dict[str, Function]
    classes: dict[str, Class]
    used: frozenset[tuple[str, str]]
    methods: dict[str, list[Function]]

    def is_used(self, owner: Function | Class) -> bool:
        """Whether something in these files takes the function or class by its name."""
        place = "*" if isinstance(owner, Function) and owner.owner else owner.module
        return (place, owner.node.name) in self.used

    def class_named(self, name: str) -> str | None:
        """The key of a class by its name alone."""
        return next((key for key, each in self.classes.items() if each.node.name == name), None)

    def methods_named(self, name: str) -> list[Function]:
        """Return the methods of this name, of any class."""
        return self.methods.get(name, [])


def read_sources(paths: list[Path]) -> Sources:
    """The files, parsed; two of one name would be taken for each other and are refused."""
    modules = {module.name: module for module in map(_module, paths)}
    if len(modules) != len(paths):
        raise ValueError("two analysed files have one name")
    functions: dict[str, Function] = {}
    classes: dict[str, Class] = {}
    for module in modules.values():
        _collect(
            module.tree,
            module.name,
            functions,
            classes,
            prefix=f"{module.name}:",
            owner=None,
            outer=None,
        )
    used = frozenset(use for module in modules.values() for use in _uses(module))
    methods: dict[str, list[Function]] = {}
    for function in functions.values():
        if function.owner:
            methods.setdefault(function.node.name, []).append(function)
    return Sources(
        modules=modules, functions=functions, classes=classes, used=used, methods=methods
    )


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes in a function, less those of functions and classes written in it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, FunctionNode | ast.ClassDef | ast.Lambda):
            yield child
            yield from own_nodes(child)


def _module(path: Path) -> SourceModule:
    name = path.parent.name if path.stem == "__init__" else path.stem
    return SourceModule(name=name, path=path, tree=ast.parse(path.read_text(), str(path)))


def _collect(
    node: ast.AST,
    module: str,
    functions: dict[str, Function],
    classes: dict[str, Class],
    *,
    prefix: str,
    owner: str | None,
    outer: str | None,
) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FunctionNode):
            key = f"{prefix}{child.name}"
            functions[key] = Function(key=key, module=module, node=child, owner=owner, outer=outer)
            if owner:
                classes[owner].methods[child.name] = key
            _collect(child, module, functions, classes, prefix=f"{key}.", owner=None, outer=key)
        elif isinstance(child, ast.ClassDef):
            key = f"{prefix}{child.name}"
            fields = {
                each.target.id: each.annotation
                for each in child.body
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
            }
            classes[key] = Class(key=key, module=module, node=child, annotations=fields)
            _collect(child, module, functions, classes, prefix=f"{key}.", owner=key, outer=outer)
        else:
            _collect(child, module, functions, classes, prefix=prefix, owner=owner, outer=outer)


def _uses(module: SourceModule) -> Iterator[tuple[str, str]]:
    """Yield the names that a module loads, with their modules; ``*`` for attributes."""
    imported = {
        alias.asname or alias.name: ((node.module or "").rpartition(".")[2], alias.name)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for name in _loaded(module.tree, frozenset()):
        yield ("*", name[1:]) if name.startswith(".") else imported.get(name, (module.name, name))


def _loaded(node: ast.AST, local: frozenset[str]) -> Iterator[str]:
    """Yield loaded names outside of annotations that are not local; attributes after a dot."""
    for name, field_value in ast.iter_fields(node):
        for child in field_value if isinstance(field_value, list) else [field_value]:
            if name in ("annotation", "returns") or not isinstance(child, ast.AST):
                continue
            if (
                isinstance(child, ast.Name)
                and isinstance(child.ctx, ast.Load)
                and child.id not in local
            ):
                yield child.id
            elif isinstance(child, ast.Attribute):
                yield f".{child.attr}"
            yield from _loaded(child, local | _locals(child))


def _locals(node: ast.AST) -> frozenset[str]:
    if not isinstance(node, FunctionNode):
        return frozenset()
    stored = {
        each.id
        for each in own_nodes(node)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }
    return frozenset(
        stored | {each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)}
    )


def _last_name(node: ast.expr) -> str:
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
