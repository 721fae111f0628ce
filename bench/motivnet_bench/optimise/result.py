"""The result of an optimisation, which is also what an interrupted one goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from motivnet.errors import ConfigError, FileError
from motivnet.files import list_folder, read_bytes, write_atomic
from motivnet.parity import Precision
from motivnet.path_kind import is_file, is_folder, kind_of
from motivnet.schema import Schema, SchemaError, decode, encode
from motivnet_bench.environment import Environment
from motivnet_bench.intervals import Answers
from motivnet_bench.latency.result import Speedup
from motivnet_bench.optimise.plan import Point

FILE_NAME = "optimise.json"
PAGE = "optimise.html"
MAX_BYTES = 16_000_000


class Setup(Schema, frozen=True, kw_only=True):
    """What measurements must have in common to be compared; all of it is part of the result.

    ``dataset_sha256`` is over the names, labels and hashes of the images. ``software`` are the
    versions of what computes.
    """

    checkpoint: str
    checkpoint_sha256: str
    dataset: str
    dataset_sha256: str
    refit: bool
    student: bool
    processor: str
    software: dict[str, str]


class Data(Schema, frozen=True, kw_only=True):
    """The images: ``evaluated`` and ``trained_on`` are numbers, ``source`` says which they are."""

    labelled: bool
    evaluated: int
    trained_on: int
    source: str


class Limits(Schema, frozen=True, kw_only=True):
    """What was asked of the pick; None for no limit."""

    max_drop: float | None
    max_ms: float | None
    max_gflop: float | None


class Pair(Schema, frozen=True, kw_only=True):
    """A precision and a runtime."""

    precision: Precision
    runtime: str

    @property
    def title(self) -> str:
        """Such as ``BF16 on openvino-bf16``."""
        return f"{self.precision.upper()} on {self.runtime}"


class Timing(Schema, frozen=True, kw_only=True):
    """The latency of one image, measured in rounds that alternate with the full model.

    A round counts with its fastest tenth of calls. ``seconds`` is the median of the rounds,
    ``speedup`` is over the full model, within the rounds. ``peak_memory`` is that of the process,
    in bytes. ``disturbed`` means that its rounds, or those of the full model, differ too much or
    had to wait for a core.
    """

    seconds: float
    speedup: Speedup
    peak_memory: int
    disturbed: bool


class Variant(Schema, frozen=True, kw_only=True):
    """The full model in one precision and runtime; its ``speedup`` is over FP32."""

    pair: Pair
    default: bool
    timing: Timing | None
    reason: str | None = None


class Measured(Schema, frozen=True, kw_only=True):
    """A point that was measured.

    Attributes:
        weights: The checkpoint of a refit or a student, below the folder of the result; None for
            the weights of the full model.
        before: The accuracy before the refit, in percent.
        model_bytes: Of the graph and its weights.
        seconds: That training, building and measuring took.
    """

    point: Point
    answers: Answers
    timing: Timing
    weights: str | None = None
    before: float | None = None
    model_bytes: int
    seconds: float

    @property
    def times_faster(self) -> float:
        """How many times faster than the full model: the median over the rounds."""
        return self.timing.speedup.median


class Skipped(Schema, frozen=True, kw_only=True):
    """A point that was planned and not measured, and why."""

    point: Point
    reason: str


class OptimiseResult(Schema, frozen=True, kw_only=True):
    """A whole run, or what an interrupted one has measured so far.

    ``full_answers`` are the classes that the full model gives in FP32, image by image. ``pick`` and
    ``knee`` are keys of points. ``outcome`` says in a line what the pick is, or why there is none.
    """

    format_version: Literal[1] = 1
    kind: Literal["optimise"] = "optimise"
    created: str
    command_line: str
    setup: Setup
    limits: Limits
    data: Data
    environment: Environment
    threads: int
    full_answers: tuple[int, ...] = ()
    variants: tuple[Variant, ...] = ()
    pair: Pair | None = None
    measured: tuple[Measured, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    pick: str | None = None
    knee: str | None = None
    outcome: str = ""
    complete: bool = False

    def point(self, key: str | None) -> Measured | None:
        """Return the measured point of a key."""
        return next((each for each in self.measured if each.point.key == key), None)

    @property
    def full(self) -> Measured | None:
        """The full model among the points."""
        return next((each for each in self.measured if each.point.kind == "full"), None)


def write_result(result: OptimiseResult, folder: Path) -> None:
    """Write ``optimise.json``, whole or not at all."""
    write_atomic(folder / FILE_NAME, encode(result, errors="replace"))


def read_result(file: Path) -> OptimiseResult:
    """Return the result in a file.

    Raises:
        FileError: If it is none, or cannot be read.
    """
    try:
        return decode(read_bytes(file, max_bytes=MAX_BYTES), OptimiseResult, max_bytes=MAX_BYTES)
    except SchemaError as error:
        raise FileError(
            f"{file} is not a result of this command; move it away, or choose another folder with "
            "--out"
        ) from error


def read_earlier(folder: Path, setup: Setup) -> OptimiseResult | None:
    """Return what an earlier run measured into a folder, None if the folder is new.

    Raises:
        ConfigError: If it was measured of something else.
        FileError: If the folder holds something else, or cannot be read.
    """
    if kind_of(folder) is None:
        return None
    if not is_folder(folder):
        raise FileError(f"{folder} is a file; choose another folder with --out")
    file = folder / FILE_NAME
    if not is_file(file):
        if others := [path.name for path in list_folder(folder)]:
            raise FileError(
                f"{folder} holds {others[0]}, and no {FILE_NAME} of this command; choose another "
                "folder with --out"
            )
        return None
    earlier = read_result(file)
    if different := _difference(earlier.setup, setup):
        raise ConfigError(
            f"{folder} holds measurements of {different}; choose another folder with --out"
        )
    return earlier


def _difference(before: Setup, now: Setup) -> str:
    """Return what an earlier run had that this one has not, for a message."""
    if before.checkpoint_sha256 != now.checkpoint_sha256:
        return (
            f"another checkpoint ({before.checkpoint}, SHA-256 {before.checkpoint_sha256[:12]}, "
            f"not {now.checkpoint_sha256[:12]})"
        )
    if before.dataset_sha256 != now.dataset_sha256:
        return f"other images ({before.dataset}, which has changed or is another dataset)"
    for name in ("refit", "student"):
        if getattr(before, name) != getattr(now, name):
            return f"a run with{'' if getattr(before, name) else 'out'} --{name}"
    if before.processor != now.processor:
        return f"another machine ({before.processor})"
    if before.software != now.software:
        old, new = before.software, now.software
        name = next(key for key in (*old, *new) if old.get(key) != new.get(key))
        return f"other software ({name} {old.get(name, 'not installed')})"
    return ""
