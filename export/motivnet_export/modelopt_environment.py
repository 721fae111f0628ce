"""A Python with NVIDIA ModelOpt, which cannot live beside us: it pins versions of ONNX and ONNX Runtime of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from motivnet.errors import ExportError
from motivnet.progress import progress
from motivnet.workspace import workspace
from motivnet_engines.user_cache import user_cache
from motivnet_export.child_process import run_to_end

VERSION = "0.47.0"
VARIABLE = "MOTIVNET_MODELOPT_PYTHON"

REQUIREMENTS = (
    f"nvidia-modelopt=={VERSION}",
    "onnx==1.21.0",
    "onnxruntime==1.25.1",  # ModelOpt asks for 1.24, whose FP16 Attention on a CPU takes 80 times as long
    "onnxconverter-common==1.16.0",
    "onnx-graphsurgeon==0.6.1",
    "onnxslim==0.1.98",
    "polygraphy==0.53.6",
    "lief==1.0.0",
    "nvidia-ml-py==13.615.71",
    "tqdm==4.70.1",
    "flatbuffers==25.12.19",
)
"""What its ONNX quantisation imports, in versions that its metadata allows (but for one), less what an export has.

Its metadata also names PyTorch (borrowed, as are NumPy and ONNX Script), CuPy and ONNX Runtime for CUDA: gigabytes that
calibration on a CPU does not touch.
"""

_WAY_OUT = f"or set {VARIABLE} to a Python where 'nvidia-modelopt[onnx]' is installed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptPython:
    """A Python that imports ModelOpt, once ``borrowed`` is at the end of its search path."""

    executable: Path
    borrowed: tuple[str, ...]


def modelopt_python(announce: Callable[[str], None]) -> ModelOptPython:
    """The Python that the user names, else one of our own, made at the first need.

    Args:
        announce: Hears that something is about to be downloaded.

    Raises:
        ExportError: If there is none and none can be made.
    """
    if named := os.environ.get(VARIABLE):
        return _named(Path(named))
    folder = cache_folder()
    if not _python_of(folder).exists():
        announce(f"quantisation needs nvidia-modelopt {VERSION}: installing it (40 MB) into {folder}, once")
        with progress(f"installing nvidia-modelopt {VERSION}"):
            _create(folder)
    return ModelOptPython(executable=_python_of(folder), borrowed=_site_folders())


def cache_folder() -> Path:
    """Where our own environment is, named by all that decides what is in it; it serves every export of one Python."""
    requirements = hashlib.sha256("\n".join(REQUIREMENTS).encode()).hexdigest()[:8]
    return Path(user_cache(), f"modelopt-{VERSION}-{requirements}-{sys.implementation.cache_tag}").absolute()


def _named(executable: Path) -> ModelOptPython:
    if not executable.is_file() or not os.access(executable, os.X_OK):
        raise ExportError(f"{VARIABLE} should name a Python where 'nvidia-modelopt[onnx]' is installed: {executable}")
    # Not resolved: the python of a virtual environment is a link, and the environment is found by its name.
    return ModelOptPython(executable=executable.absolute(), borrowed=())


def _create(folder: Path) -> None:
    """Makes the environment, whole or not at all; not synced to the disk, as it can be made again."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with workspace(folder) as beside:
            made = beside / folder.name
            _install(made)
            if not _python_of(folder).exists():  # or another process was faster
                shutil.rmtree(folder, ignore_errors=True)  # one whose Python is gone
                made.rename(folder)
    except OSError as error:
        raise ExportError(f"{folder} cannot be written: {error.strerror or error}; make room, {_WAY_OUT}") from error


def _install(folder: Path) -> None:
    _run([sys.executable, "-m", "venv", str(folder)])
    pip = [str(_python_of(folder)), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    # Dependencies are left to the list: resolved, they are gigabytes. Wheels only: nothing is compiled or run.
    _run([*pip, "install", "--no-deps", "--only-binary=:all:", "--no-compile", *REQUIREMENTS])


def _python_of(folder: Path) -> Path:
    return folder / "bin" / "python"


def _run(command: list[str]) -> None:
    done = run_to_end(command)
    if done.returncode:
        reason = _reason(f"{done.stdout}\n{done.stderr}") or f"it ended with {done.returncode}"
        raise ExportError(f"nvidia-modelopt {VERSION} cannot be installed: {reason}; try again online, {_WAY_OUT}")


def _reason(output: str) -> str:
    """The first line of error (pip's next ones repeat it), else the last line of all."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines[-1:] or [""])[0]


def _site_folders() -> tuple[str, ...]:
    return tuple(path for path in sys.path if Path(path).name in ("site-packages", "dist-packages"))
