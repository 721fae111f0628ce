"""The model that a checkpoint of ours describes, read from its first bytes, without PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from motivnet.config import ModelConfig
from motivnet.errors import ConfigError
from motivnet.files import open_regular, read_errors
from motivnet.schema import SchemaError, convert, decode

MAX_HEADER = 8 << 20


def config_in_header(path: Path) -> ModelConfig | None:
    """Return the configuration in a safetensors file of this toolkit, None in any other file.

    What costs are calculated from needs no weights, of which the largest models have gigabytes.
    Nothing is checked but the configuration: loading the weights checks the rest.

    Raises:
        FileError: If the file is missing or cannot be read.
    """
    if path.is_dir():
        return None
    with open_regular(path) as file, read_errors(path):
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= MAX_HEADER:
            return None
        data = file.read(length)
    try:
        metadata = _mapping(json.loads(data).get("__metadata__"))
        entry = decode(str(metadata.get("motivnet", "")).encode(), dict[str, Any])
        described = decode(str(entry.get("description", "")).encode(), dict[str, Any])
        return convert(described.get("config"), ModelConfig)
    except (SchemaError, ConfigError, ValueError, AttributeError, RecursionError):
        return None


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
