"""A training recipe out of a YAML file, and back into one."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import yaml

from motivnet import strict_json
from motivnet.checkpoints.weights import listed
from motivnet.errors import ConfigError
from motivnet.files import read_bytes
from motivnet_training.recipe import TrainingRecipe, recipe_named

_FLOAT = re.compile(r"[-+]?(?:\d[\d_]*)?\.?\d+[eE][-+]?\d+")
_MAPPING = "tag:yaml.org,2002:map"
_MAX_BYTES = 64_000
_MAX_DEPTH = 8
_SHOWN = 60


class _Loader(yaml.SafeLoader):
    """Plain values; a key given twice is an error, and ``1e-8`` is a number.

    PyYAML follows YAML 1.1, in which a number with an exponent needs a point and a sign
    (``1.0e-8``), and keeps the last of two equal keys. A recipe needs no aliases, with which a few
    hundred bytes stand for any number of values, and no nesting, which PyYAML follows by recursion.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """A node and all below it."""
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
            raise ConfigError(f"the key {_short(key)} is not a name")
        if key in keys:
            raise ConfigError(f"{_short(key)} is given twice")
        keys.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(_MAPPING, _unique_mapping)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def recipe_from_file(path: Path, base: TrainingRecipe) -> TrainingRecipe:
    """The recipe ``base`` with what the file says otherwise; ``name`` in it chooses another base.

    Raises:
        ConfigError: If the file is not a YAML mapping, has an unknown key, or a value does not fit.
        FileError: If it cannot be read.
    """
    try:
        given = _mapping(read_bytes(path, max_bytes=_MAX_BYTES))
        base = recipe_named(_short(given["name"])) if "name" in given else base
        _check_keys(given)
        return strict_json.build(TrainingRecipe, dataclasses.asdict(base) | given)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {_place(error)}") from error
    except (strict_json.StrictJSONError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from error


def yaml_from_recipe(recipe: TrainingRecipe) -> str:
    """The recipe as ``recipe_from_file`` reads it."""
    return str(yaml.safe_dump(dataclasses.asdict(recipe), sort_keys=False))


def _place(error: yaml.YAMLError | UnicodeDecodeError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {_short(error.problem)}"
    return " ".join(str(error)[: 4 * _SHOWN].split())


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _check_keys(given: dict[str, Any]) -> None:
    known = [field.name for field in dataclasses.fields(TrainingRecipe)]
    if unknown := [_short(key) for key in given if key not in known]:
        raise ConfigError(f"a recipe has no {listed(unknown)}; it has {', '.join(known)}")


def _mapping(data: bytes) -> dict[str, Any]:
    try:
        value = yaml.load(data.decode("utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (ValueError, AttributeError, TypeError, OverflowError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        # PyYAML converts numbers and dates unchecked, such as 2026-13-45 or a number of 5,000
        # digits.
        raise ConfigError("has a value that is not a valid number, date or text") from error
    if not isinstance(value, dict):
        raise ConfigError("must hold keys and values of a training recipe, such as epochs: 10")
    return value
