"""Folders that refuse what is asked of them, and what is in a folder."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
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
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def file_size_limit() -> Iterator[int]:
    """Files of this process cannot grow beyond this many bytes (Python ignores the signal that comes with it)."""
    limit, before = 100_000, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def tree() -> Callable[[Path], dict[str, str]]:
    """A function that gives everything below a folder, hidden names included: a file with its text."""

    def found(folder: Path) -> dict[str, str]:
        return {
            str(path.relative_to(folder)): path.read_text() if path.is_file() else "folder"
            for path in sorted(folder.rglob("*"))
        }

    return found
