"""The result of a latency run: values that are written to JSON and read back unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from motivnet.errors import ConfigError
from motivnet.files import read_bytes
from motivnet.parity import ParityReport
from motivnet.schema import Schema, SchemaError, decode
from motivnet_bench.environment import Environment
from motivnet_engines.runtimes.selection import ParityStatus

FORMAT_VERSION: Literal[1] = 1
MAX_BYTES = 16_000_000

MAX_VARIATION = 0.10
"""Round medians that vary more than this (deviation over mean) make the metrics doubtful."""

Role = Literal["baseline-fp32", "baseline-half", "runtime"]


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
    """How many times faster than a baseline: the median over the rounds, and the range."""

    median: float
    smallest: float
    largest: float


class Metrics(Schema, frozen=True, kw_only=True):
    """What was measured of one candidate. Times are in seconds, ``peak_memory`` in bytes.

    ``load`` runs from before the backend is imported to the open model, ``first_call`` is the first
    inference after it, ``peak_memory`` the largest resident memory of the candidate's process,
    interpreter and libraries included. ``probability_max_abs`` is the largest difference of a
    probability from PyTorch FP32 on the inputs of the run, ``top1_agrees`` whether every image got
    the same label; both are None if there is nothing to compare with.
    """

    latency: LatencySummary
    images_per_second: float
    load: float
    first_call: float
    peak_memory: int
    speedup_over_fp32: Speedup | None
    speedup_over_half: Speedup | None
    probability_max_abs: float | None
    top1_agrees: bool | None


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
    """A whole run; ``created`` is its time in UTC, ``command_line`` repeats it."""

    format_version: Literal[1] = FORMAT_VERSION
    kind: Literal["latency"] = "latency"
    created: str
    command_line: str
    target: TargetEntry
    settings: Settings
    environment: Environment
    candidates: tuple[CandidateResult, ...]
    parity: ParityReport
    warnings: tuple[str, ...]

    def candidate(self, name: str) -> CandidateResult | None:
        """Return the row of that name."""
        return next((row for row in self.candidates if row.name == name), None)

    @property
    def default(self) -> CandidateResult | None:
        """The row of the runtime that opens the artifact if none is named."""
        return next((row for row in self.candidates if row.default), None)


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
