"""A folder that refuses reading and writing, and a function that lists a folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

NOBODY = 65_534


@pytest.fixture
def forbidden() -> Iterator[Path]:
    """A folder that may be entered and not written, with a file that may not be read.

    No mode stops the superuser, who therefore steps down for the test.
    """
    folder, superuser = Path(tempfile.mkdtemp()), os.geteuid() == 0
    (folder / "file").touch(mode=0)
    folder.chmod(0o555)
    if superuser:
        os.seteuid(NOBODY)
    yield folder
    if superuser:
        os.seteuid(0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def tree() -> Callable[[Path], dict[str, str]]:
    """A function that gives everything below a folder, hidden names too, and each file's text."""

    def found(folder: Path) -> dict[str, str]:
        return {
            str(path.relative_to(folder)): path.read_text() if path.is_file() else "folder"
            for path in sorted(folder.rglob("*"))
        }

    return found
