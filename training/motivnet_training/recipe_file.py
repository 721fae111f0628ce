"""A training recipe as a YAML file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

from motivnet.checkpoints.weights import listed
from motivnet.errors import ConfigError
from motivnet.files import read_bytes
from motivnet.printable import printable
from motivnet.schema import text_from_bytes
from motivnet_training.recipe import TrainingRecipe, change_recipe, get_recipe

_FLOAT = re.compile(r"[-+]?(?:\d[\d_]*)?\.?\d+[eE][-+]?\d+")
_MAX_BYTES = 64_000
_MAX_DEPTH = 8
_SHOWN = 60


class _Loader(yaml.SafeLoader):
    """Reads plain values; a key given twice is an error, and ``1e-8`` is a number.

    PyYAML follows YAML 1.1, in which a number with an exponent needs a point and a sign
    (``1.0e-8``), and keeps the last of two equal keys. A recipe needs no aliases, with which a few
    hundred bytes can stand for any number of values, and no nesting, which PyYAML reads by
    recursion.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return a node with its children."""
        if self.check_event(yaml.AliasEvent):
            raise ConfigError("a recipe may not use aliases (*name); write the value out")
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise ConfigError(f"a recipe may not be nested deeper than {_MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _unique_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys: set[str] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise ConfigError(f"the key {_shorten(key)} is not a name")
        if key in keys:
            raise ConfigError(f"{_shorten(key)} is given twice")
        keys.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _unique_mapping)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def recipe_from_file(path: Path, base: TrainingRecipe) -> TrainingRecipe:
    """Return ``base`` with the values in the file; ``name`` in the file chooses another base.

    Raises:
        ConfigError: If the file is not a YAML mapping, has an unknown key, or a value does not fit.
        FileError: If it cannot be read.
    """
    data = read_bytes(path, max_bytes=_MAX_BYTES)
    try:
        given = _parse_mapping(data)
        known = TrainingRecipe.__struct_fields__
        if unknown := [_shorten(key) for key in given if key not in known]:
            raise ConfigError(f"a recipe has no {listed(unknown)}; it has {', '.join(known)}")
        if "name" in given:
            base = get_recipe(str(given["name"]))
        return change_recipe(base, **given)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {_locate(error)}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def yaml_from_recipe(recipe: TrainingRecipe) -> str:
    """Return the recipe as ``recipe_from_file`` reads it."""
    return str(yaml.safe_dump(msgspec.to_builtins(recipe), sort_keys=False))


def _parse_mapping(data: bytes) -> dict[str, Any]:
    try:
        value = yaml.load(text_from_bytes(data), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except UnicodeDecodeError:
        raise
    except (ValueError, AttributeError, TypeError, OverflowError) as error:
        # PyYAML converts numbers and dates unchecked, such as 2026-13-45 or 5,000 digits.
        raise ConfigError("has a value that is not a valid number, date or text") from error
    if not isinstance(value, dict):
        raise ConfigError("must hold keys and values of a training recipe, such as epochs: 10")
    return value


def _locate(error: yaml.YAMLError | UnicodeDecodeError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {printable(str(error.problem), limit=160)}"
    return printable(str(error), limit=160)


def _shorten(value: object) -> str:
    return printable(str(value), limit=_SHOWN)
