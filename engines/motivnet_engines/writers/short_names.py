"""Names for files in little room: as much of each path as tells it from the others."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path


def short_names(paths: Iterable[Path]) -> dict[Path, str]:
    """The shortest end of each path that no other has: ``a.jpg``, or ``d1/a.jpg`` beside ``d2/a.jpg``."""
    full = {path: Path(os.path.abspath(path)).parts for path in paths}  # noqa: PTH100 - links stay as they are named
    names: dict[Path, str] = {}
    open_paths, depth = full, 0
    while open_paths:
        depth += 1
        ends = Counter(parts[-depth:] for parts in set(full.values()))
        done = {
            path
            for path, parts in open_paths.items()
            if ends[parts[-depth:]] == 1 or depth >= len(parts)
        }
        names |= {path: str(Path(*open_paths[path][-depth:])) for path in done}
        open_paths = {path: parts for path, parts in open_paths.items() if path not in done}
    return names
