"""Packages that cannot be imported: which one it is, why, and the command that repairs it.

What is installed may still fail to load: a shared library is missing, another package has replaced
its files, or it was compiled for another NumPy. Then it raises an error of any type from the body
of one of its modules.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from importlib.metadata import packages_distributions

from motivnet.errors import BrokenDependencyError, MissingDependencyError, MotivNetError

_EXTRAS = {
    **dict.fromkeys(("onnx", "onnx_ir", "onnxscript", "safetensors", "torch"), "export"),
    **dict.fromkeys(("lightning_fabric", "tensorboard", "yaml"), "train"),
    **dict.fromkeys(("matplotlib", "sklearn"), "bench"),
    **dict.fromkeys(("prometheus_client", "python_multipart", "starlette", "uvicorn"), "serve"),
    **dict.fromkeys(("pyarrow", "ray"), "ray"),
    "av": "video",
    "playwright": "browser",
}
"""The extra that installs a package, for an installation that lacks what a command needs."""

_OPENCV = "opencv-python-headless"


def load_error(module: str) -> MotivNetError | None:
    """Import a module and return why that fails; None if it can be imported."""
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - a package may raise anything
        return import_problem(error) or broken_dependency(module, error)
    return None


def broken_dependency(package: str, error: BaseException) -> BrokenDependencyError:
    """Return the error about a package that was installed and raised ``error`` at its import."""
    return BrokenDependencyError(package, reason=error, repair=_repair_of(package))


def import_problem(
    error: BaseException | None,
) -> BrokenDependencyError | MissingDependencyError | None:
    """Return which package an error says cannot be imported; None for any other error."""
    if error is None:
        return None
    named = (getattr(error, "name", None) or "") if isinstance(error, ImportError) else ""
    named = named.partition(".")[0]
    if named in _EXTRAS and not is_installed(named):
        return MissingDependencyError(named, extra=_EXTRAS[named])
    package = _importing_package(error)
    # The error of a compiled module, which has no frame, has its name.
    if package is None and named and is_installed(named):
        package = named
    if package is None or package in sys.stdlib_module_names or _is_own(package):
        return None
    return broken_dependency(package, error)


def is_installed(module: str) -> bool:
    """Return whether a module, such as ``cuda.bindings``, is installed, without loading it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False
    except Exception:  # noqa: BLE001 - the package around it is there, and may raise anything
        return True


def _importing_package(error: BaseException) -> str | None:
    """Return the package whose module was being imported when an error was raised.

    The innermost one: if OpenCV cannot be imported because NumPy cannot, it is NumPy.
    """
    package: str | None = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if _is_own(name):
            package = None
        elif frame.f_code.co_name == "<module>" and name not in sys.stdlib_module_names:
            package = name
    return package


def _is_own(package: str) -> bool:
    return package.startswith("motivnet")


def _repair_of(package: str) -> str:
    """Return the command that installs a package anew."""
    installed = sorted(set(packages_distributions().get(package, ())))
    if package == "cv2":  # several distributions bring it, and overwrite each other's files
        removed = f"pip uninstall -y {' '.join(installed)} && " if installed else ""
        return f"{removed}pip install {_OPENCV}"
    return f"pip install --force-reinstall {' '.join(installed) or package}"
