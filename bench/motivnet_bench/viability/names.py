"""What folders are called in a report, which is passed on and tells no more of a path than is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def folder_names(folders: Sequence[Path]) -> tuple[str, ...]:
    """The last part of each path, and as many parts before it as tell different folders apart."""
    resolved = [folder.resolve() for folder in folders]
    different = len(set(resolved))
    for depth in range(1, max((len(path.parts) for path in resolved), default=0) + 1):
        names = tuple("/".join(path.parts[-depth:]) for path in resolved)
        if len(set(names)) == different:
            return names
    return ()
