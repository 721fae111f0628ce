"""Run in a child process: what a module offers, as JSON on standard output.

dump.py MODULE: the classes with their members and signatures, the enumerations with their names,
the functions.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from typing import Any

SIGNATURE = re.compile(r"^(?:\d+\. )?(?:\w+)?\(.*\)(?: -> .*)?$")


def signatures(value: Any) -> list[str]:
    """Return the lines of a docstring that state how to call it, and nothing else of it."""
    lines = [line.strip() for line in (getattr(value, "__doc__", None) or "").splitlines()]
    return [line for line in lines if SIGNATURE.match(line) and "(*args, **kwargs)" not in line]


def described(value: Any) -> dict[str, Any]:
    if isinstance(value, property):
        setter = None if value.fset is None else signatures(value.fset)
        return {"kind": "property", "signatures": signatures(value.fget), "setter": setter}
    if callable(value) and not isinstance(value, type):
        return {"kind": "method", "signatures": signatures(value)}
    return {"kind": "value", "type": type(value).__qualname__}


def classes(owner: Any, prefix: str) -> dict[str, Any]:
    found = {}
    for name in dir(owner):
        value = getattr(owner, name, None)
        if isinstance(value, type) and not name.startswith("__"):
            found[prefix + name] = of_class(value)
            if value.__module__.split(".")[0] not in ("builtins", "ctypes"):
                found.update(nested(value, f"{prefix}{name}."))
    return found


def nested(owner: type, prefix: str) -> dict[str, Any]:
    inner = {
        name: value
        for name, value in vars(owner).items()
        if isinstance(value, type) and name[:1].isupper()
    }
    return {f"{prefix}{name}": of_class(value) for name, value in inner.items()}


def of_class(value: type) -> dict[str, Any]:
    names = getattr(value, "__members__", None)
    members = {
        name: described(member)
        for parent in reversed(value.__mro__[:-1])
        for name, member in vars(parent).items()
        if not name.startswith("__") or name == "__init__"
    }
    return {"names": None if names is None else sorted(names), "members": members}


def functions(module: Any) -> dict[str, Any]:
    public = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    return {name: described(value) for name, value in public.items() if not isinstance(value, type)}


def main() -> None:
    module = importlib.import_module(sys.argv[1])
    document = {"classes": classes(module, ""), "functions": functions(module)}
    json.dump(document, sys.stdout)


if __name__ == "__main__":
    main()
