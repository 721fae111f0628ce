"""What no version check sees: what must never be done with an engine, and what always must."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

FORBIDDEN = {
    "engine_host_code_allowed": "an engine must never bring host code",
    "plugins_to_serialize": "an engine must not carry plugin libraries",
    "set_plugins_to_serialize": "an engine must not carry plugin libraries",
    "load_library": "plugin libraries are native code",
    "init_libnvinfer_plugins": "no plugins are used",
}
"""Attributes that are never taken, and names that are never given to ``setattr``."""

FORBIDDEN_MODULES = ("pycuda.autoinit", "pycuda.autoprimaryctx")
"""They make or keep a CUDA context at import, beside the one that torch and ONNX Runtime use."""


def broken_rules(path: Path) -> list[str]:
    """A sentence for each line of a file that breaks a rule."""
    tree = ast.parse(path.read_text(), str(path))
    found = [*_forbidden_names(tree), *_forbidden_imports(tree), *_weakly_typed(tree)]
    return [f"{path.name}:{line}: {text}" for line, text in sorted(found)]


def _forbidden_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) if name in FORBIDDEN:
                yield node.lineno, f".{name}: {FORBIDDEN[name]}"
            case ast.Call(
                func=ast.Name(id="setattr" | "getattr"), args=[_, ast.Constant(value=str(name)), *_]
            ):
                if name in FORBIDDEN:
                    yield node.lineno, f"{name}: {FORBIDDEN[name]}"


def _forbidden_imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                names = [alias.name for alias in aliases]
            case ast.ImportFrom(module=str(module), names=aliases):
                names = [module, *(f"{module}.{alias.name}" for alias in aliases)]
            case ast.Call(
                func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(module)), *_]
            ):
                names = [module]
            case _:
                continue
        for name in FORBIDDEN_MODULES:
            if name in names:
                yield node.lineno, f"{name} is imported, which makes a CUDA context of its own"


def _weakly_typed(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Find networks that are created without ``STRONGLY_TYPED`` in their flags."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for node in _own(function):
                match node:
                    case ast.Call(func=ast.Attribute(attr="create_network")):
                        if not _says_strongly_typed(function, node):
                            yield (
                                node.lineno,
                                "create_network without NetworkDefinitionCreationFlag."
                                "STRONGLY_TYPED",
                            )


def _own(function: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, ast.FunctionDef):
            yield child
            yield from _own(child)


def _says_strongly_typed(function: ast.AST, call: ast.Call) -> bool:
    if _mentions_it(call):
        return True
    names = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
    assigned = [node for node in _own(function) if isinstance(node, ast.Assign)]
    given = [
        node.value
        for node in assigned
        if {getattr(target, "id", None) for target in node.targets} & names
    ]
    return any(map(_mentions_it, given))


def _mentions_it(tree: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr == "STRONGLY_TYPED" for node in ast.walk(tree)
    )


def touches(path: Path) -> list[str]:
    """A sentence for each line of a file that imports TensorRT or takes it of an ``Api``."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        match node:
            case ast.Import(names=aliases) if any(
                alias.name.startswith("tensorrt") for alias in aliases
            ):
                found.append(f"{path.name}:{node.lineno}: imports TensorRT")
            case ast.ImportFrom(module=str(module)) if module.startswith("tensorrt"):
                found.append(f"{path.name}:{node.lineno}: imports TensorRT")
            case ast.Attribute(attr="trt"):
                found.append(f"{path.name}:{node.lineno}: takes .trt")
    return found
