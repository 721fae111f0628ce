"""pycuda for the tests that run on the fake driver: built once from its source package, and kept.

pycuda comes as source alone and wants CUDA's headers and a driver to link to: the headers come from
NVIDIA's wheels, the driver is the fake, so that neither a toolkit nor a GPU is needed. Nothing of
it is installed anywhere else.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PYCUDA = "pycuda==2026.1"
HEADERS = ("nvidia-cuda-runtime==13.5.37", "nvidia-cuda-profiler-api==13.5.25")
"""``cuda.h`` with what it needs, and ``cudaProfiler.h``."""

BUILD_SECONDS = 1200
SITECONF = """\
CUDA_ROOT = {headers!r}
CUDA_INC_DIR = [{include!r}]
CUDADRV_LIB_DIR = [{driver!r}]
CUDADRV_LIBNAME = ["cuda"]
CUDA_ENABLE_CURAND = False
CXXFLAGS = ["-O0", "-w"]
LDFLAGS = []
"""


@dataclass(frozen=True)
class Built:
    """The folder to import pycuda from, or why there is none: a reason to skip, or a failure."""

    folder: Path | None = None
    skipped: str = ""
    failed: str = ""


class UnreachableError(Exception):
    """The packages could not be downloaded, or there is no compiler."""


@cache
def built(driver: Path, cache_folder: Path) -> Built:
    """Builds pycuda unless it was built before; what is out of reach is skipped here, and fails in
    CI.

    Args:
        driver: The folder of the ``libcuda.so`` to link to.
        cache_folder: Where to keep what was built, in a folder named by versions.
    """
    tag = f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"
    target = cache_folder / f"{PYCUDA.replace('==', '-')}-{tag}"
    cache_folder.mkdir(parents=True, exist_ok=True)
    with open(f"{target}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be building it
        try:
            if not target.is_dir():
                _build(driver, target)
        except UnreachableError as error:
            reason = f"pycuda cannot be built here: {error}"
            return Built(failed=reason) if os.environ.get("CI") else Built(skipped=reason)
        except subprocess.SubprocessError as error:
            return Built(failed=f"pycuda does not build: {_end_of(error)}")
    return Built(folder=target)


def _build(driver: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        scratch = Path(folder)
        _download(scratch)
        (archive,) = (scratch / "download").glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(scratch / "source", filter="data")
        (source,) = (scratch / "source").iterdir()
        (include,) = (scratch / "headers").glob("nvidia/*/include")
        text = SITECONF.format(
            headers=str(include.parent), include=str(include), driver=str(driver)
        )
        (source / "siteconf.py").write_text(text, encoding="utf-8")
        _pip("install", "--target", str(scratch / "built"), str(source))
        shutil.move(scratch / "built", target)


def _download(scratch: Path) -> None:
    if shutil.which("g++") is None:
        raise UnreachableError("there is no g++")
    try:
        _pip("install", "--no-deps", "--target", str(scratch / "headers"), *HEADERS)
        _pip(
            "download",
            "--no-deps",
            "--no-binary=pycuda",
            "--dest",
            str(scratch / "download"),
            PYCUDA,
        )
    except subprocess.SubprocessError as error:
        raise UnreachableError(_end_of(error).splitlines()[-1]) from error


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=BUILD_SECONDS)


def _end_of(error: subprocess.SubprocessError) -> str:
    """The end of what was said, without pip's warnings about places that it does not find."""
    said = f"{getattr(error, 'stdout', '') or ''}\n{getattr(error, 'stderr', '') or ''}"
    lines = [
        line.rstrip()
        for line in said.splitlines()
        if line.strip() and not line.startswith("WARNING")
    ]
    return "\n".join(lines[-40:] or [str(error)])
