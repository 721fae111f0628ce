"""How fast a model is beside the full one: two processes, measured in rounds that alternate."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.terminal import progress
from motivnet_bench.latency.candidate_process import CandidateProcess
from motivnet_bench.latency.candidates import Candidate
from motivnet_bench.latency.measure import alternate, write_inputs
from motivnet_bench.latency.result import MAX_VARIATION, MAX_WAITING, Speedup
from motivnet_bench.latency.statistics import Measurement
from motivnet_bench.latency.worker import ArtifactModel
from motivnet_bench.optimise.result import Timing
from motivnet_engines.runtimes.selection import parity_status

TIMEOUT = 1800.0
"""Seconds that a model may take to open, or for a round."""

WARMUP = 2
QUANTILE = 10
"""Percentile of the calls of a round that the round counts with."""

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
    return timings(measurements)


def timings(measurements: Sequence[Measurement]) -> list[tuple[Timing | None, str | None]]:
    """Return the timing of each measurement, or None and the reason; the first is the full model's.

    A round counts with its fastest tenth of calls (the 10th percentile), and not with its median:
    what else runs on the machine makes calls longer and never shorter, and on a busy machine most
    of them.
    """
    first = measurements[0]
    if first.error is not None:
        return [(None, f"{FULL}: {first.error}")] * len(measurements)
    full = _round_times(first)
    return [
        (_timing(each, full, disturbed=_is_disturbed(first)), None)
        if each.error is None
        else (None, each.error)
        for each in measurements
    ]


def _timing(measurement: Measurement, full: NDArray[np.float64], *, disturbed: bool) -> Timing:
    own = _round_times(measurement)
    ratios = full / own
    return Timing(
        seconds=float(np.median(own)),
        speedup=Speedup(
            median=float(np.median(ratios)),
            smallest=float(ratios.min()),
            largest=float(ratios.max()),
            lower_bound=float(full.min() / own.max()),
            upper_bound=float(full.max() / own.min()),
        ),
        peak_memory=measurement.peak_memory,
        disturbed=disturbed or _is_disturbed(measurement),
    )


def _round_times(measurement: Measurement) -> NDArray[np.float64]:
    return np.array([np.percentile(calls, QUANTILE) for calls in measurement.rounds], np.float64)


def _is_disturbed(measurement: Measurement) -> bool:
    """Return whether the rounds differ too much, or the threads had to wait for a core."""
    times = _round_times(measurement)
    varied = len(times) > 1 and times.std(ddof=1) > MAX_VARIATION * times.mean()
    return bool(varied) or max(measurement.waiting, default=0.0) > MAX_WAITING


def _candidate(artifact: Artifact, runtime: str, *, name: str) -> Candidate:
    return Candidate(
        name=name,
        role="baseline" if name == FULL else "runtime",
        parity=parity_status(artifact.manifest, runtime),
        model=ArtifactModel(folder=str(artifact.folder.absolute()), runtime=runtime),
    )
