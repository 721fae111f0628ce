"""What a run of the benchmark leaves: values that go to JSON and come back the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from motivnet import strict_json
from motivnet.artifact.manifest import ParityReport
from motivnet.errors import ConfigError
from motivnet.files import read_bytes
from motivnet_bench.environment import Environment
from motivnet_bench.latency.statistics import Ratio, Summary
from motivnet_engines.runtimes.registry import Verdict

FORMAT_VERSION: Literal[1] = 1
MAX_BYTES = 16_000_000

Role = Literal["baseline-fp32", "baseline-half", "runtime"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectEntry:
    """The artifact that was measured, in the words of its manifest; ``image_size`` is (height, width)."""

    name: str
    weights: str
    precision: str
    requested_precision: str
    attention: str
    input_dtype: str
    image_size: tuple[int, int]
    recipe: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How it was measured; ``duration`` is in seconds a turn, ``warmup`` in calls."""

    batch: int
    rounds: int
    duration: float
    warmup: int
    threads: int
    device: str
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one candidate did. Times are in seconds, ``peak_memory`` in bytes.

    ``load`` runs from before the backend is imported to the open model, ``first_call`` is the first
    inference after it, ``peak_memory`` the largest resident memory of the candidate's process,
    interpreter and libraries included. ``probability_max_abs`` is the largest difference of a
    probability from PyTorch FP32 on the input of the run, ``top1_agrees`` whether every image of it
    got the same label; both are None where there is nothing to compare with.
    """

    latency: Summary
    images_per_second: float
    load: float
    first_call: float
    peak_memory: int
    ratio_to_fp32: Ratio | None
    ratio_to_half: Ratio | None
    probability_max_abs: float | None
    top1_agrees: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateResult:
    """One row: figures, or the one-line reason why there are none; ``gate`` as in ``Candidate``."""

    name: str
    role: Role
    default: bool
    gate: Verdict | None
    compute: str | None
    device: str | None
    figures: Figures | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyResult:
    """A whole run; ``created`` is its time in UTC, ``command`` what repeats it."""

    format_version: Literal[1] = FORMAT_VERSION
    kind: Literal["latency"] = "latency"
    created: str
    command: str
    subject: SubjectEntry
    settings: Settings
    environment: Environment
    candidates: tuple[CandidateResult, ...]
    parity: ParityReport
    warnings: tuple[str, ...]

    def candidate(self, name: str) -> CandidateResult | None:
        """The row of that name, if there is one."""
        return next((row for row in self.candidates if row.name == name), None)

    @property
    def default(self) -> CandidateResult | None:
        """The row of the runtime that opens the artifact where none is asked for."""
        return next((row for row in self.candidates if row.default), None)

    def to_json(self) -> bytes:
        """The text that ``from_json`` reads."""
        return strict_json.dumps(self)

    @classmethod
    def from_json(cls, data: bytes) -> LatencyResult:
        """The result in a JSON text.

        Raises:
            ConfigError: If it is not one, or of another format version.
        """
        try:
            return strict_json.build(cls, strict_json.loads(data, max_bytes=MAX_BYTES))
        except strict_json.StrictJSONError as error:
            raise ConfigError(
                f"not a latency result of format {FORMAT_VERSION}: {error}"
            ) from error


def read_result(path: Path) -> LatencyResult:
    """The result in a file that ``motivnet-bench latency`` wrote.

    Raises:
        ConfigError: If the file is not one.
        FileError: If it cannot be read.
    """
    try:
        return LatencyResult.from_json(read_bytes(path, max_bytes=MAX_BYTES))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
