"""A Python with NVIDIA ModelOpt, which pins other versions of ONNX and ONNX Runtime than ours."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from motivnet.child_process import run_to_end
from motivnet.errors import ExportError, FileError
from motivnet.terminal import progress
from motivnet.workspace import workspace
from motivnet_engines.system.user_folders import check_private, make_private, user_cache

VERSION = "0.47.0"
VARIABLE = "MOTIVNET_MODELOPT_PYTHON"

REQUIREMENTS = Path(__file__).with_name("modelopt_requirements.txt")
"""What its ONNX quantisation imports, pinned with the hashes of the files that pip may install."""

_ALTERNATIVE = f"or set {VARIABLE} to a Python where 'nvidia-modelopt[onnx]' is installed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptPython:
    """A Python that can import ModelOpt with ``borrowed`` at the end of its search path."""

    executable: Path
    borrowed: tuple[str, ...]


def modelopt_python(on_message: Callable[[str], None]) -> ModelOptPython:
    """Return the Python that the user names, else ours, which is installed at the first use.

    Raises:
        ExportError: If there is none and none can be made.
    """
    if named := os.environ.get(VARIABLE):
        return _named(Path(named))
    folder = _own_folder()
    if not _python_of(folder).exists():
        on_message(
            f"quantisation needs nvidia-modelopt {VERSION}: installing it (40 MB) into {folder}, "
            "once"
        )
        with progress(f"installing nvidia-modelopt {VERSION}"):
            _create(folder)
    return ModelOptPython(executable=_python_of(folder), borrowed=_site_folders())


def cache_folder() -> Path:
    """Return the folder of our environment, named after everything that decides its content.

    Raises:
        FileError: If the user has no private cache folder.
    """
    requirements = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:8]
    return user_cache() / f"modelopt-{VERSION}-{requirements}-{sys.implementation.cache_tag}"


def _own_folder() -> Path:
    """Return the folder of our environment; refuse one that other users can write to."""
    try:
        folder = cache_folder()
        check_private(folder)
    except FileError as error:
        raise ExportError(
            f"nvidia-modelopt has no place to be installed in: {error}, {_ALTERNATIVE}"
        ) from error
    return folder


def _named(executable: Path) -> ModelOptPython:
    if not executable.is_file() or not os.access(executable, os.X_OK):
        raise ExportError(
            f"{VARIABLE} should name a Python where 'nvidia-modelopt[onnx]' is installed: "
            f"{executable}"
        )
    # Not resolved: the python of a virtual environment is a link, and the environment is found by
    # its name.
    return ModelOptPython(executable=executable.absolute(), borrowed=())


def _create(folder: Path) -> None:
    """Install the environment, whole or not at all; not synced, since it can be installed again."""
    try:
        make_private(folder.parent)
        with workspace(folder) as beside:
            made = beside / folder.name
            _install(made)
            made.chmod(0o700)
            if not _python_of(folder).exists():  # or another process was faster
                shutil.rmtree(folder, ignore_errors=True)  # one whose Python is gone
                made.rename(folder)
    except FileError as error:
        raise ExportError(f"{error}; make room, {_ALTERNATIVE}") from error
    except OSError as error:
        raise ExportError(
            f"{folder} cannot be written: {error.strerror or error}; make room, {_ALTERNATIVE}"
        ) from error


def _install(folder: Path) -> None:
    """Install with Python's venv and pip, isolated from modules in the working directory.

    The index and proxy are those of the user's pip; the hashes decide what is installed.
    """
    _run([sys.executable, "-I", "-m", "venv", str(folder)], folder.parent)
    pip = [str(_python_of(folder)), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input"]
    # Resolved dependencies would be gigabytes, the list has those that are needed. Wheels only:
    # nothing is compiled or run.
    options = [
        "--require-hashes",
        "--no-deps",
        "--only-binary=:all:",
        "--no-compile",
        "-r",
        str(REQUIREMENTS),
    ]
    _run([*pip, "install", *options], folder.parent)


def _python_of(folder: Path) -> Path:
    return folder / "bin" / "python"


def _run(command: list[str], folder: Path) -> None:
    done = run_to_end(command, folder=folder)
    if done.returncode:
        reason = _reason(f"{done.stdout}\n{done.stderr}") or f"it ended with {done.returncode}"
        raise ExportError(
            f"nvidia-modelopt {VERSION} cannot be installed: {reason}; try again online, "
            f"{_ALTERNATIVE}"
        )


def _reason(output: str) -> str:
    """Return the first error line (pip's next ones repeat it), else the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines[-1:] or [""])[0]


def _site_folders() -> tuple[str, ...]:
    return tuple(path for path in sys.path if Path(path).name in ("site-packages", "dist-packages"))
