"""A quantiser in a process of its own: its job and its answer are JSON files in a folder."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motivnet.child_process import run_to_end


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The ``version`` of a quantiser that wrote its graph, or else why it did not.

    ``error`` is the first line of its exception, empty if the process ended without one.
    """

    version: str | None
    error: str
    process: subprocess.CompletedProcess[str]


def run_quantiser(
    command: Sequence[str | Path],
    job: dict[str, Any],
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> Answer:
    """Run a quantiser, with the file of its job as the last argument."""
    job_file, answer_file = folder / "job.json", folder / "answer.json"
    job_file.write_text(json.dumps({**job, "answer": str(answer_file)}), encoding="utf-8")
    done = run_to_end([*command, job_file], folder=folder, environment=environment)
    answer: dict[str, str] = {}
    if answer_file.exists():
        answer = json.loads(answer_file.read_text(encoding="utf-8"))
    error = answer.get("error", "").strip().partition("\n")[0].strip()
    return Answer(version=answer.get("version"), error=error, process=done)


def describe_end(done: subprocess.CompletedProcess[str], *, unlike: str) -> str:
    """Return one line on a process that gave no answer.

    Args:
        unlike: What is in lines of its log, which tell nothing about the end.
    """
    if done.returncode == -signal.SIGKILL:
        return (
            "the process that quantises was killed, most likely for its memory; close programs or "
            "use --fp16"
        )
    lines = [line for line in done.stderr.splitlines() if line.strip() and unlike not in line]
    last = f": {lines[-1].strip()}" if lines else ""
    return f"the process that quantises ended with {done.returncode}{last}"
