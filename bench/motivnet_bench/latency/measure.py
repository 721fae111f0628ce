"""How fast an artifact is beside PyTorch, measured so that no candidate disturbs another.

Every candidate lives in a process of its own and is stopped except in its turn; the turns
alternate, and a speed-up is taken within each round, so that a slow minute of the machine falls on
both sides of the quotient.
"""

from __future__ import annotations

import contextlib
import datetime
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from motivnet.errors import ConfigError
from motivnet.labels import EMOTIONS
from motivnet.progress import progress
from motivnet_bench.environment import available_cores, read_environment
from motivnet_bench.latency.candidate_process import Contestant, Outcome
from motivnet_bench.latency.candidates import Candidate, candidates_for, resolve_device
from motivnet_bench.latency.inputs import InputFiles, images_for, write_inputs
from motivnet_bench.latency.protocol import PyTorchModel
from motivnet_bench.latency.result import LatencyResult, Settings, SubjectEntry
from motivnet_bench.latency.results import rows_of, warnings_of
from motivnet_bench.latency.schedule import turns
from motivnet_bench.latency.target import Subject

MAX_TIMEOUT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to measure.

    Args:
        batch: Images a call.
        rounds: Turns of each candidate.
        duration: Seconds a turn; a call that takes longer is made once.
        warmup: Untimed calls after the first, before the rounds.
        threads: Threads of each candidate; None for the physical cores available.
        device: Of the PyTorch baselines: ``auto``, ``cpu`` or ``cuda``.
        runtimes: Names of runtimes to measure; none for all that are installed.
        trust_engines: Whether engines that this user did not build here are measured unnamed.
        timeout: Seconds that a candidate may take to open or for a turn.
        image: An image file to use in place of drawn faces.
    """

    batch: int = 1
    rounds: int = 5
    duration: float = 0.5
    warmup: int = 1
    threads: int | None = None
    device: str = "auto"
    runtimes: tuple[str, ...] = ()
    trust_engines: bool = False
    timeout: float = 1800.0
    image: Path | None = None

    def __post_init__(self) -> None:
        if min(self.batch, self.rounds) < 1 or (self.threads is not None and self.threads < 1):
            raise ConfigError("batch, rounds and threads must be at least 1")
        if self.warmup < 0 or not 0 < self.duration <= 3600 or not 0 < self.timeout <= MAX_TIMEOUT:
            raise ConfigError(
                f"warmup must not be negative, duration lie in 0 to 3600 s, and timeout in 0 to {MAX_TIMEOUT:,} s"
            )


def measure_latency(subject: Subject, options: Options, *, command: str = "") -> LatencyResult:
    """The figures of every candidate on the same input; one that fails is a row with its reason.

    Args:
        command: What repeats the run, for the report.

    Raises:
        ConfigError: If the batch is beyond the artifact's, or a runtime or device is not known.
        ImageError: If ``options.image`` is not an image.
    """
    manifest = subject.artifact.manifest
    if options.batch > manifest.max_batch:
        raise ConfigError(
            f"batch {options.batch} is beyond the artifact's largest batch {manifest.max_batch}"
        )
    environment = read_environment()
    settings = _settings(options)
    candidates = candidates_for(
        subject,
        device=settings.device,
        runtimes=options.runtimes,
        trust_engines=options.trust_engines,
    )
    with tempfile.TemporaryDirectory(prefix="motivnet-bench-") as folder:
        images = images_for(
            manifest.input, batch=options.batch, labels=EMOTIONS, image=options.image
        )
        files = write_inputs(Path(folder), manifest.input, images)
        outcomes = run_contest(candidates, files, settings, timeout=options.timeout)
    rows = rows_of(outcomes, batch=options.batch)
    return LatencyResult(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command,
        subject=_entry(subject),
        settings=settings,
        environment=environment,
        candidates=rows,
        parity=manifest.parity,
        warnings=warnings_of(rows, environment),
    )


def run_contest(
    candidates: Sequence[Candidate], files: InputFiles, settings: Settings, *, timeout: float
) -> list[Outcome]:
    """What every candidate did in its rounds; all their processes have ended, also after an interrupt."""
    steps = len(candidates) * (settings.rounds + 1)
    with contextlib.ExitStack() as stack, progress("measuring", total=steps) as advance:
        contestants = []
        for candidate in candidates:
            contestant = stack.enter_context(
                Contestant(candidate, threads=settings.threads, timeout=timeout)
            )
            array = files.pytorch if isinstance(candidate.model, PyTorchModel) else files.artifact
            contestant.open(array, warmup=settings.warmup)
            contestants.append(contestant)
            advance(1)
        for _, contestant in turns(contestants, settings.rounds):
            contestant.turn(settings.duration)
            advance(1)
        return [contestant.finish() for contestant in contestants]


def _settings(options: Options) -> Settings:
    return Settings(
        batch=options.batch,
        rounds=options.rounds,
        duration=options.duration,
        warmup=options.warmup,
        threads=options.threads or available_cores(),
        device=resolve_device(options.device),
        image="drawn face" if options.image is None else options.image.name,
    )


def _entry(subject: Subject) -> SubjectEntry:
    manifest = subject.artifact.manifest
    return SubjectEntry(
        name=subject.name,
        weights="random"
        if subject.checkpoint is None
        else (manifest.source.checkpoint or subject.checkpoint.name),
        precision=manifest.precision,
        requested_precision=manifest.requested_precision,
        attention=manifest.attention,
        input_dtype=manifest.input.dtype,
        image_size=manifest.input.recipe.size,
        recipe=manifest.input.recipe.name,
    )
