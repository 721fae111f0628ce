"""Where this program keeps what it can fetch or make again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """``$XDG_CACHE_HOME/motivnet`` or ``~/.cache/motivnet``; a home that is not known stays ``~`` and is not found.

    A relative ``XDG_CACHE_HOME`` is ignored, as the XDG base directory specification asks.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    root = named if Path(named).is_absolute() else os.path.expanduser("~/.cache")  # noqa: PTH111
    return Path(root) / "motivnet"
