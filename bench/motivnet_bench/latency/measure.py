"""How fast an artifact is beside PyTorch, measured so that no candidate disturbs another.

Each candidate runs in its own process, which is paused while another one is measured. The rounds
alternate, and a speed-up is taken within each round, so that a slow minute of the machine affects
both sides of the quotient.
"""

from __future__ import annotations

import contextlib
import datetime
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from motivnet.array_files import write_npy
from motivnet.artifact.manifest import InputEntry
from motivnet.config import ModelConfig
from motivnet.errors import ConfigError
from motivnet.images import read_image
from motivnet.labels import EMOTIONS
from motivnet.processors import count_physical_cores
from motivnet.synthetic import synthetic_faces
from motivnet.terminal import progress
from motivnet_bench.environment import read_environment
from motivnet_bench.latency.baselines import check_baselines, default_baselines
from motivnet_bench.latency.candidate_process import INTERRUPTED, CandidateProcess
from motivnet_bench.latency.candidates import Candidate, Device, choose_candidates, resolve_device
from motivnet_bench.latency.result import LatencyResult, Settings, TargetEntry
from motivnet_bench.latency.statistics import Measurement, find_warnings, summarise_candidates
from motivnet_bench.latency.worker import PyTorchModel
from motivnet_bench.target import Target, pytorch_input
from motivnet_engines.runtimes.registry import check_names
from motivnet_engines.runtimes.signature import batch_from_images

MAX_SECONDS = 3600
MAX_TIMEOUT = 1_000_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to measure.

    Args:
        batch_size: Images per call.
        rounds: Rounds per candidate.
        seconds: Seconds per round; a call that takes longer is made once.
        warmup: Untimed calls after the first, before the rounds.
        threads: Threads per candidate; None for the physical cores available.
        device: Where the PyTorch baselines run.
        runtimes: Names of runtimes to measure; none for all that are installed.
        baselines: PyTorch baselines to measure; none for ``default_baselines``.
        trust_engines: Whether to measure engines too that this user did not build here.
        timeout: Seconds that a candidate may take to open or for a round.
        image: An image file to use instead of drawn faces.
    """

    batch_size: int = 1
    rounds: int = 5
    seconds: float = 0.5
    warmup: int = 1
    threads: int | None = None
    device: Device = "auto"
    runtimes: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    trust_engines: bool = False
    timeout: float = 1800.0
    image: Path | None = None

    def __post_init__(self) -> None:
        for name, lowest in (("batch_size", 1), ("rounds", 1), ("threads", 1), ("warmup", 0)):
            value = getattr(self, name)
            if value is not None and value < lowest:
                option = name.replace("_", "-")
                raise ConfigError(f"--{option} must be at least {lowest}, not {value}")
        for name, most in (("seconds", MAX_SECONDS), ("timeout", MAX_TIMEOUT)):
            value = getattr(self, name)
            if not 0 < value <= most:  # NaN is not
                raise ConfigError(f"--{name} must be above 0 and at most {most:,}, not {value:g}")
        check_baselines(self.baselines)
        check_names(self.runtimes, in_browser=True)


def measure_latency(target: Target, options: Options, *, command_line: str = "") -> LatencyResult:
    """Measure every candidate on the same inputs; one that fails is a row with its reason.

    An interruption ends the run after the first round with a result of what was measured.

    Args:
        command_line: Repeats the run, for the report.

    Raises:
        ConfigError: If the batch size is beyond the artifact's, or the device is unknown.
        ImageError: If ``options.image`` is not an image.
        KeyboardInterrupt: If the run was interrupted before anything was measured.
        RuntimeUnavailableError: If no runtime can open the artifact here.
    """
    manifest = target.artifact.manifest
    if options.batch_size > manifest.max_batch:
        raise ConfigError(
            f"batch size {options.batch_size} is beyond the artifact's largest batch size "
            f"{manifest.max_batch}"
        )
    environment = read_environment()
    settings = Settings(
        batch_size=options.batch_size,
        rounds=options.rounds,
        seconds=options.seconds,
        warmup=options.warmup,
        threads=options.threads or count_physical_cores(),
        device=resolve_device(options.device),
        image="drawn face" if options.image is None else options.image.name,
    )
    unasked, left_out = default_baselines(device=settings.device, precision=manifest.precision)
    candidates = choose_candidates(
        target,
        device=settings.device,
        runtimes=options.runtimes,
        baselines=options.baselines or unasked,
        trust_engines=options.trust_engines,
    )
    with tempfile.TemporaryDirectory(prefix="motivnet-bench-") as folder:
        inputs = write_inputs(
            Path(folder), manifest.input, batch_size=options.batch_size, image=options.image
        )
        measurements, interrupted_after = run_rounds(
            candidates, inputs, settings, config=manifest.source.config, timeout=options.timeout
        )
    rows = summarise_candidates(measurements, batch_size=options.batch_size)
    weights = "random"
    if target.checkpoint is not None:
        weights = manifest.source.checkpoint or target.checkpoint.name
    return LatencyResult(
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command_line=command_line,
        target=TargetEntry(
            name=target.name,
            weights=weights,
            precision=manifest.precision,
            requested_precision=manifest.requested_precision,
            attention=manifest.attention,
            input_dtype=manifest.input.dtype,
            image_size=manifest.input.preprocessing.size,
            preprocessing=manifest.input.preprocessing.name,
        ),
        settings=settings,
        environment=environment,
        candidates=rows,
        parity=manifest.parity,
        interrupted_after=interrupted_after,
        left_out=() if options.baselines else left_out,
        warnings=tuple(find_warnings(rows, environment)),
    )


def write_inputs(
    folder: Path, entry: InputEntry, *, batch_size: int, image: Path | None
) -> tuple[Path, Path]:
    """Write a batch of drawn faces, or of one image repeated, as ``.npy`` files to ``folder``.

    Returns:
        The path of the preprocessed batch for PyTorch, and of the batch as the artifact takes it.
    """
    if image is None:
        size = entry.preprocessing.size
        images = list(synthetic_faces(batch_size, seed=0, size=size, labels=EMOTIONS))
    else:
        images = [read_image(image)] * batch_size
    pytorch, artifact = folder / "pytorch.npy", folder / "artifact.npy"
    write_npy(pytorch, batch_from_images(pytorch_input(entry), images))
    write_npy(artifact, batch_from_images(entry, images))
    return pytorch, artifact


def run_rounds(
    candidates: Sequence[Candidate],
    inputs: tuple[Path, Path],
    settings: Settings,
    *,
    config: ModelConfig,
    timeout: float,
) -> tuple[list[Measurement], int | None]:
    """Measure every candidate; all processes have ended on return, also after an interrupt.

    Args:
        inputs: As ``write_inputs`` returns them.

    Returns:
        What was measured, and the number of complete rounds if the run was interrupted.

    Raises:
        KeyboardInterrupt: If it was interrupted before anything was measured.
    """
    steps = len(candidates) * (settings.rounds + 1)
    interrupted = False
    with contextlib.ExitStack() as stack, progress("measuring", total=steps) as advance:
        processes = [
            stack.enter_context(
                CandidateProcess(candidate, threads=settings.threads, timeout=timeout)
            )
            for candidate in candidates
        ]
        try:
            for process, candidate in zip(processes, candidates, strict=True):
                path = inputs[0] if isinstance(candidate.model, PyTorchModel) else inputs[1]
                process.open(path, warmup=settings.warmup, config=config)
                advance(1)
            for number in range(settings.rounds):
                for process in alternate(processes, number):
                    process.measure(
                        settings.seconds, title=f"round {number + 1} of {settings.rounds}"
                    )
                    advance(1)
        except KeyboardInterrupt:
            interrupted = True
        measurements = [process.finish() for process in processes]
    if not interrupted:
        return measurements, None
    if all(each.error for each in measurements):
        raise KeyboardInterrupt
    return measurements, min(
        len(each.rounds) for each in measurements if each.error in {None, INTERRUPTED}
    )


def alternate(candidates: Sequence[T], number: int) -> Iterator[T]:
    """Return the candidates in the order of a round; every second round runs backwards.

    There and back (A B C, C B A, ...) gives every candidate the same mean position in time over two
    rounds, so that a processor that heats up or slows down steadily favours none.
    """
    return iter(candidates) if number % 2 == 0 else reversed(candidates)
