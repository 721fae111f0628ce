"""Another program run to its end, or to ours."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


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
