"""Formats of results as text; the help of a command needs them, so nothing heavy is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from motivnet.errors import ConfigError
from motivnet.path_kind import kind_of

Format = Literal["table", "jsonl", "csv"]
_FORMAT_OF_SUFFIX: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def choose_format(named: Format | None, out: Path | None) -> Format:
    """Return the format asked for, else that of the file's suffix, else a table without a file.

    Raises:
        ConfigError: If a file is to hold a table, its suffix is unknown, or it is a directory.
    """
    if out is None:
        return named or "table"
    if kind_of(out, output="--out") == "folder":
        raise ConfigError(
            f"--out {out} is a directory; give the name of a file, as {out / 'results.jsonl'}"
        )
    found = named or _FORMAT_OF_SUFFIX.get(out.suffix.lower())
    if found is None:
        known = ", ".join(_FORMAT_OF_SUFFIX)
        raise ConfigError(f"--out {out} has none of the suffixes {known}; give --format as well")
    if found == "table":
        raise ConfigError(f"--out {out} cannot hold a table; choose --format jsonl or csv")
    return found
