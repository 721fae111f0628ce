"""The result of a latency run: values that are written to JSON and read back unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from motivnet.errors import ConfigError, RuntimeUnavailableError
from motivnet.files import read_bytes
from motivnet.parity import ParityReport
from motivnet.schema import Schema, SchemaError, decode
from motivnet_bench.environment import Environment
from motivnet_engines.runtimes.selection import ParityStatus

FORMAT_VERSION: Literal[2] = 2
MAX_BYTES = 16_000_000

MAX_VARIATION = 0.10
"""Round medians that vary more than this (deviation over mean) make the metrics doubtful."""

REFERENCE = "pytorch-fp32"
"""The baseline that every candidate's probabilities are compared with."""

MAX_WAITING = 0.10
"""Threads that waited for a core for more than this share of a round were disturbed."""

Role = Literal["baseline", "runtime"]


class TargetEntry(Schema, frozen=True, kw_only=True):
    """The artifact that was measured, as its manifest says; ``image_size`` is (height, width)."""

    name: str
    weights: str
    precision: str
    requested_precision: str
    attention: str
    input_dtype: str
    image_size: tuple[int, int]
    preprocessing: str


class Settings(Schema, frozen=True, kw_only=True):
    """How it was measured: ``seconds`` per round, ``warmup`` in calls."""

    batch_size: int
    rounds: int
    seconds: float
    warmup: int
    threads: int
    device: str
    image: str


class LatencySummary(Schema, frozen=True, kw_only=True):
    """Latencies of one candidate in seconds, over all its calls.

    ``deviation`` is the sample standard deviation (0 for a single call); ``quantiles`` are the 0th
    to the 100th percentile in steps of one, interpolated linearly, from which plots are drawn;
    ``variation`` is the coefficient of variation of the round medians (0 for a single round).
    """

    calls: int
    mean: float
    deviation: float
    p50: float
    p90: float
    p95: float
    p99: float
    round_medians: tuple[float, ...]
    variation: float
    quantiles: tuple[float, ...]

    @property
    def unstable(self) -> bool:
        """Whether the rounds differ by more than ``MAX_VARIATION``."""
        return self.variation > MAX_VARIATION


class Speedup(Schema, frozen=True, kw_only=True):
    """How many times faster than a baseline: the median over the rounds, and the range.

    ``lower_bound`` is the baseline's fastest round over the candidate's slowest, ``upper_bound``
    the reverse: what disturbed rounds cannot exceed.
    """

    median: float
    smallest: float
    largest: float
    lower_bound: float
    upper_bound: float


class Metrics(Schema, frozen=True, kw_only=True):
    """What was measured of one candidate. Times are in seconds, ``peak_memory`` in bytes.

    ``load`` runs from before the backend is imported to the open model, ``compilation`` is the call
    that compiled it, None if none did, ``first_call`` the first inference after these,
    ``peak_memory`` the largest resident memory of the candidate's process, interpreter and
    libraries included. ``waiting`` is the largest share of a round in which its threads waited for
    a core, None if the kernel does not tell. ``speedups`` are those over each baseline, by name.
    ``probability_max_abs`` is the largest difference of a probability from PyTorch FP32 on the
    inputs of the run, ``top1_agrees`` whether every image got the same label; both are None if
    there is nothing to compare with.
    """

    latency: LatencySummary
    images_per_second: float
    load: float
    compilation: float | None
    first_call: float
    peak_memory: int
    waiting: float | None
    speedups: dict[str, Speedup]
    probability_max_abs: float | None
    top1_agrees: bool | None

    @property
    def waited(self) -> bool:
        """Whether its threads waited for a core for more than ``MAX_WAITING`` of a round."""
        return self.waiting is not None and self.waiting > MAX_WAITING

    @property
    def disturbed(self) -> bool:
        """Whether its rounds differ too much, or its threads waited for a core."""
        return self.latency.unstable or self.waited


class CandidateResult(Schema, frozen=True, kw_only=True):
    """One row: the metrics, or one line that says why there are none.

    ``default`` marks the runtime that opens the artifact if none is named; ``parity`` is what the
    parity report says of the runtime, None for PyTorch.
    """

    name: str
    role: Role
    default: bool
    parity: ParityStatus | None
    compute: str | None
    device: str | None
    metrics: Metrics | None
    error: str | None


class LatencyResult(Schema, frozen=True, kw_only=True):
    """A whole run; ``created`` is its time in UTC, ``command_line`` repeats it.

    ``interrupted_after`` is the number of complete rounds of a run that was interrupted, else None.
    ``left_out`` says which baselines were not measured and why.
    """

    format_version: Literal[2] = FORMAT_VERSION
    kind: Literal["latency"] = "latency"
    created: str
    command_line: str
    target: TargetEntry
    settings: Settings
    environment: Environment
    candidates: tuple[CandidateResult, ...]
    parity: ParityReport
    interrupted_after: int | None
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]

    def candidate(self, name: str) -> CandidateResult | None:
        """Return the row of that name."""
        return next((row for row in self.candidates if row.name == name), None)

    @property
    def default(self) -> CandidateResult | None:
        """The row of the runtime that opens the artifact if none is named."""
        return next((row for row in self.candidates if row.default), None)

    @property
    def measured_baselines(self) -> tuple[CandidateResult, ...]:
        """The rows of the baselines that have metrics."""
        return tuple(row for row in self.candidates if row.role == "baseline" and row.metrics)

    @property
    def fastest_baseline(self) -> CandidateResult | None:
        """The baseline with the smallest median latency, among those that were measured."""
        seconds = {
            row.name: row.metrics.latency.p50 for row in self.measured_baselines if row.metrics
        }
        return self.candidate(min(seconds, key=seconds.__getitem__)) if seconds else None

    def require_runtime(self) -> None:
        """Raise an error if no runtime could be measured.

        Raises:
            RuntimeUnavailableError: With the reason of each.
        """
        runtimes = [row for row in self.candidates if row.role == "runtime"]
        if not any(row.metrics for row in runtimes):
            reasons = "; ".join(f"{row.name}: {row.error}" for row in runtimes)
            raise RuntimeUnavailableError(f"no runtime could be measured: {reasons}")


def read_result(path: Path) -> LatencyResult:
    """Read the result in a file that ``motivnet-bench latency`` wrote.

    Raises:
        ConfigError: If the file is not one, or of another format version.
        FileError: If it cannot be read.
    """
    try:
        return decode(read_bytes(path, max_bytes=MAX_BYTES), LatencyResult, max_bytes=MAX_BYTES)
    except SchemaError as error:
        raise ConfigError(
            f"{path}: not a latency result of format {FORMAT_VERSION}: {error}"
        ) from error
