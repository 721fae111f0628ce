"""A training recipe out of a YAML file, and back into one."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import yaml

from motivnet import strict_json
from motivnet.errors import ConfigError
from motivnet.files import read_bytes
from motivnet_training.recipe import TrainingRecipe, recipe_named

_FLOAT = re.compile(r"[-+]?(?:\d[\d_]*)?\.?\d+[eE][-+]?\d+")
_MAPPING = "tag:yaml.org,2002:map"


class _Loader(yaml.SafeLoader):
    """Plain values; a key given twice is an error, and ``1e-8`` is a number.

    PyYAML follows YAML 1.1, in which a number with an exponent needs a point and a sign (``1.0e-8``), and keeps the
    last of two equal keys.
    """


def _unique_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    if twice := next((key for position, key in enumerate(keys) if key in keys[:position]), None):
        raise ConfigError(f"{twice} is given twice")
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
        given = _mapping(read_bytes(path, max_bytes=strict_json.MAX_BYTES))
        base = recipe_named(str(given["name"])) if "name" in given else base
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
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())


def _check_keys(given: dict[str, Any]) -> None:
    known = [field.name for field in dataclasses.fields(TrainingRecipe)]
    if unknown := [str(key) for key in given if key not in known]:
        raise ConfigError(f"a recipe has no {', '.join(unknown)}; it has {', '.join(known)}")


def _mapping(data: bytes) -> dict[str, Any]:
    value = yaml.load(data.decode("utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    if not isinstance(value, dict):
        raise ConfigError("must hold keys and values of a training recipe, such as epochs: 10")
    return value
