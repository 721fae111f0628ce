"""The small text files in which the kernel and the system describe the machine."""

from __future__ import annotations

from pathlib import Path

from motivnet.errors import FileError
from motivnet.files import open_regular

_MAX_BYTES = 4_000_000


def text_of(path: Path) -> str:
    """The text of such a file, which says of itself that it is empty; "" where there is none."""
    try:
        with open_regular(path) as file:
            return file.read(_MAX_BYTES).decode(errors="replace")
    except FileError:
        return ""
