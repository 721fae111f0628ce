"""How fast a model is beside the full one: two processes, measured in rounds that alternate."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from motivnet.artifact import Artifact
from motivnet.terminal import progress
from motivnet_bench.latency.candidate_process import CandidateProcess
from motivnet_bench.latency.candidates import Candidate
from motivnet_bench.latency.measure import alternate, write_inputs
from motivnet_bench.latency.result import CandidateResult
from motivnet_bench.latency.statistics import summarise_candidates
from motivnet_bench.latency.worker import ArtifactModel
from motivnet_bench.optimise.result import Timing
from motivnet_engines.runtimes.selection import parity_status

TIMEOUT = 1800.0
"""Seconds that a model may take to open, or for a round."""

WARMUP = 2
FULL = "full model"


def time_beside(
    full: tuple[Artifact, str],
    others: Sequence[tuple[Artifact, str]],
    *,
    rounds: int,
    seconds: float,
    threads: int,
) -> list[tuple[Timing | None, str | None]]:
    """Measure models, each an artifact and a runtime, beside the full one.

    Each runs in its own process, which is paused while another one is measured; every second round
    runs backwards. So a slow minute of the machine affects both sides of a quotient.

    Returns:
        For the full model, which is once as fast as it is, and for each of ``others`` the timing,
        or None and the reason.
    """
    candidates = [
        _candidate(*model, name=FULL if number == 0 else str(number))
        for number, model in enumerate((full, *others))
    ]
    artifacts = [full[0], *(artifact for artifact, _ in others)]
    steps = len(candidates) * (rounds + 1)
    with (
        tempfile.TemporaryDirectory(prefix="motivnet-optimise-") as temporary,
        contextlib.ExitStack() as stack,
        progress("measuring latency", total=steps) as advance,
    ):
        processes = [
            stack.enter_context(CandidateProcess(candidate, threads=threads, timeout=TIMEOUT))
            for candidate in candidates
        ]
        for number, (process, artifact) in enumerate(zip(processes, artifacts, strict=True)):
            folder = Path(temporary, str(number))
            folder.mkdir()
            manifest = artifact.manifest
            _, inputs = write_inputs(folder, manifest.input, batch_size=1, image=None)
            process.open(inputs, warmup=WARMUP, config=manifest.source.config)
            advance(1)
        for number in range(rounds):
            for process in alternate(processes, number):
                process.measure(seconds, title=f"round {number + 1} of {rounds}")
                advance(1)
        measurements = [process.finish() for process in processes]
    rows = summarise_candidates(measurements, batch_size=1)
    first = rows[0].metrics
    if first is None:
        return [(None, f"{FULL}: {rows[0].error}")] * len(rows)
    return [_timing(row, disturbed=first.disturbed) for row in rows]


def _candidate(artifact: Artifact, runtime: str, *, name: str) -> Candidate:
    return Candidate(
        name=name,
        role="baseline" if name == FULL else "runtime",
        parity=parity_status(artifact.manifest, runtime),
        model=ArtifactModel(folder=str(artifact.folder.absolute()), runtime=runtime),
    )


def _timing(row: CandidateResult, *, disturbed: bool) -> tuple[Timing | None, str | None]:
    metrics = row.metrics
    if metrics is None:
        return None, row.error
    timing = Timing(
        median=metrics.latency.p50,
        speedup=metrics.speedups[FULL],
        peak_memory=metrics.peak_memory,
        disturbed=disturbed or metrics.disturbed,
    )
    return timing, None
