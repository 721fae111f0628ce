"""Other processes: a Python of this installation that takes no module from the working directory, and a program that
is run to its end, or to ours.

A folder that was downloaded may hold a ``json.py`` or a ``sitecustomize.py``. ``python -m`` imports them, and so may
any Python that is started in it while ``PYTHONPATH`` has an empty item.
"""  # noqa: D205 - the first sentence is two lines

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def isolated_module(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of this installation as a program, isolated (``-I``).

    Isolated is without the working directory, the variables ``PYTHON*`` and the user's site-packages. An installation
    may need the latter two, so the search path of this process takes the place of the child's before it imports the
    module. Import hooks are not handed over: of editable installations in the user's site-packages only those start
    their children that are a folder in a ``.pth`` file, as ours is.
    """
    program = (
        "import runpy, sys\n"
        f"sys.path[:] = {search_path()!r}\n"
        "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
    )
    return [sys.executable, "-I", "-c", program, module, *arguments]


def search_path() -> list[str]:
    """Where this process looks for modules, without the working directory unless it runs this toolkit from there."""
    unsafe = _working_directory() - _folders_of_ours()
    return [
        entry
        for entry in sys.path
        if Path(entry).is_absolute() and Path(entry).resolve() not in unsafe
    ]


def run_to_end(
    command: Sequence[str | Path], *, folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What a program printed and how it ended; it is gone before any error, Ctrl-C included, leaves this function.

    ``subprocess.run`` kills it too, but does not wait for its death: it could write into a folder being removed.

    Args:
        folder: Its working directory, one of our own: what lies in the caller's is no business of the program's.
    """
    with subprocess.Popen(  # noqa: S603 - the callers choose the program
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
    ) as process:
        try:
            output, errors = process.communicate()
        except BaseException:
            process.kill()
            process.wait()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _working_directory() -> set[Path]:
    try:
        return {Path.cwd()}
    except FileNotFoundError:  # removed, so that nothing can be in it
        return set()


def _folders_of_ours() -> set[Path]:
    modules = [
        module
        for name, module in sys.modules.items()
        if name.startswith("motivnet") and "." not in name
    ]
    return {Path(module.__file__).resolve().parents[1] for module in modules if module.__file__}
