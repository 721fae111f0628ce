"""An optimisation from its first measurement to the artifact of the pick.

After each point the result is written, so that a run that was interrupted, or killed, loses the
point that it was at and goes on from the others. Two runs that differ in the limits alone share
their measurements: the limits only decide what is skipped and what is picked.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.errors import (
    CheckpointError,
    ExportError,
    FileError,
    ParityError,
    RuntimeUnavailableError,
    TrainingError,
)
from motivnet.files import make_folder, write_errors
from motivnet.parity import Precision
from motivnet.processors import count_physical_cores
from motivnet.workspace import write_lock
from motivnet_bench.environment import read_environment
from motivnet_bench.latency.result import Speedup
from motivnet_bench.optimise.choice import choose, knee, nearest, reason_to_skip
from motivnet_bench.optimise.data import Faces, check_enough, read_faces
from motivnet_bench.optimise.intervals import compare_answers
from motivnet_bench.optimise.models import (
    Weights,
    build_point,
    precisions_here,
    reuse_or_build,
)
from motivnet_bench.optimise.plan import Point, plan_points
from motivnet_bench.optimise.request import OptimiseRequest
from motivnet_bench.optimise.result import (
    Limits,
    Measured,
    OptimiseResult,
    Pair,
    Setup,
    Skipped,
    Timing,
    Variant,
    read_earlier,
    write_result,
)
from motivnet_bench.optimise.sentences import describe_outcome
from motivnet_bench.optimise.timing import time_beside
from motivnet_bench.optimise.weights import Trainer
from motivnet_bench.viability.performance import BatchedModel
from motivnet_engines.runtimes.registry import open_backend
from motivnet_engines.runtimes.selection import (
    default_runtime,
    installed_runtimes,
    is_default_choice,
)
from motivnet_export.source import ModelSource, model_source

logger = logging.getLogger(__name__)

ARTIFACT = "artifact"
WORK = "work"
"""Folder of the artifacts that are measured; removed when all are."""

BATCH_SIZE = 8
_SOFTWARE = ("motivnet", "torch", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt")
_CLOSE = 1.05
"""The default runtime is kept if another one is faster by less than this."""

ONCE = Speedup(median=1, smallest=1, largest=1, lower_bound=1, upper_bound=1)
"""How fast the full model is beside itself."""

_FAILURES = (ParityError, ExportError, TrainingError, RuntimeUnavailableError)
"""What concerns one point; the others are measured all the same."""


class PointFailedError(RuntimeUnavailableError):
    """A point could not be measured."""


def optimise(
    request: OptimiseRequest,
    *,
    command_line: str = "",
    on_message: Callable[[str], None] = logger.warning,
) -> OptimiseResult:
    """Measure, pick and build; the result is in ``request.out``, the artifact in it.

    Args:
        command_line: Repeats the run, for the page.
        on_message: Called with a line for each point that was measured, skipped or failed.

    Raises:
        ConfigError: If the folder holds measurements of something else, or the model cannot be made
            smaller.
        DatasetError: If the images cannot be read, or are too few for ``max_drop``.
        FileError: If the folder holds something else, or is being written by another run.
        MotivNetError: For any other mistake of the user's.
    """
    source = model_source(request.checkpoint, model=None, preprocess=None)
    if source.fresh_head:
        raise CheckpointError(
            f"{request.checkpoint} has an untrained head, which answers nothing; train it first"
        )
    plan = plan_points(source.config, student=request.student)
    faces = read_faces(
        request.dataset, labels=source.labels, refit=request.refit, student=request.student
    )
    check_enough(faces.entry, request.max_drop)
    environment = read_environment()
    setup = Setup(
        checkpoint=source.name,
        checkpoint_sha256=source.sha256 or "",
        dataset=request.dataset.resolve().name,
        dataset_sha256=faces.sha256,
        refit=request.refit,
        student=request.student,
        processor=environment.processor,
        software={n: v for n, v in environment.versions.items() if n in _SOFTWARE},
    )
    with _lock(request.out):
        earlier = read_earlier(request.out, setup)
        result = OptimiseResult(
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            command_line=command_line,
            setup=setup,
            limits=Limits(
                max_drop=request.max_drop, max_ms=request.max_ms, max_gflop=request.max_gflop
            ),
            data=faces.entry,
            environment=environment,
            threads=count_physical_cores(),
        )
        if earlier is not None:
            kept = ("full_answers", "variants", "pair", "measured")
            result = msgspec.structs.replace(
                result, **{name: getattr(earlier, name) for name in kept}
            )
            if earlier.measured:
                on_message(f"{len(earlier.measured)} points were measured before and are kept")
        run = Run(request=request, source=source, faces=faces, result=result, say=on_message)
        run.compare_pairs()
        for point in plan:
            run.measure(point)
        run.finish()
        return run.result


@dataclass(slots=True, kw_only=True)
class Run:
    """What has been measured, and how to measure the next point."""

    request: OptimiseRequest
    source: ModelSource
    faces: Faces
    result: OptimiseResult
    say: Callable[[str], None]
    _full: dict[Precision, Artifact] = field(default_factory=dict)

    def compare_pairs(self) -> None:
        """Measure the full model in each precision and runtime; the fastest pair is used for all.

        Only runtimes that passed the parity check, and that do not round an FP32 artifact, take
        part. The default runtime is kept if another one is hardly faster.
        """
        if self.result.pair is not None:
            return
        models: list[tuple[Pair, Artifact, bool]] = []
        for precision in precisions_here():
            try:
                artifact = self._full_artifact(precision)
            except _FAILURES as error:
                self.say(f"{precision} is left out: {error}")
                continue
            default = default_runtime(artifact)
            models += [
                (Pair(precision=precision, runtime=name), artifact, name == default)
                for name in installed_runtimes(artifact)
                if is_default_choice(artifact.manifest, name)
            ]
        models.sort(key=lambda model: not (model[2] and model[0].precision == "fp32"))
        first, *others = models
        timed = self._time(
            (first[1], first[0].runtime), [(artifact, pair.runtime) for pair, artifact, _ in others]
        )
        variants = tuple(
            Variant(pair=pair, default=is_default, timing=timing, reason=reason)
            for (pair, _, is_default), (timing, reason) in zip(models, timed, strict=True)
        )
        pair = fastest_pair(variants)
        answers = self._answers(first[1], first[0].runtime)
        self._keep(variants=variants, pair=pair, full_answers=tuple(answers.tolist()))
        self.say(f"the full model is fastest in {pair.title}, in which all points are measured")

    def measure(self, point: Point) -> None:
        """Measure a point, unless that was done before or cannot lead to anything."""
        if self.result.point(point.key) is not None:
            return
        reason = None
        if point.kind != "full":
            reason = reason_to_skip(point, self.result.measured, self.result.limits)
        if reason is None:
            try:
                measured = self._measured(point)
            except _FAILURES as error:
                reason = f"it could not be measured: {error}"
                self.say(f"{point.title}: {reason}")
            else:
                self._keep(measured=(*self.result.measured, measured))
                drop = measured.answers.drop
                self.say(
                    f"{point.title}: {measured.times_faster:.1f}x as fast, "
                    f"{-drop.value:+.1f} points"
                )
                return
        skipped = Skipped(point=point, reason=reason)
        self.result = msgspec.structs.replace(self.result, skipped=(*self.result.skipped, skipped))

    def finish(self) -> None:
        """Pick, and build the pick."""
        measured, limits = self.result.measured, self.result.limits
        if not measured:
            raise PointFailedError(f"nothing could be measured: {self.result.skipped[0].reason}")
        bend = knee(measured)
        candidates = measured
        if limits.max_drop is not None:  # the full model itself is no saving
            candidates = tuple(each for each in measured if each.point.kind != "full")
        pick = choose(candidates, limits) if candidates else None
        near = None if pick else nearest(candidates or measured, limits)
        self._keep(
            knee=bend.point.key if bend else None,
            pick=pick.point.key if pick else None,
            outcome=describe_outcome(self.result, pick, near),
        )
        if pick is not None:
            self._build(pick)
        self._keep(complete=True)
        shutil.rmtree(self.request.out / WORK, ignore_errors=True)

    def _measured(self, point: Point) -> Measured:
        started = time.monotonic()
        pair = self.result.pair
        assert pair is not None
        weights = self._trainer().weights_of(point)
        if point.kind == "full":
            artifact = self._full_artifact(pair.precision)
        else:
            artifact = build_point(
                weights, pair.precision, self._work(point.key), on_message=self.say
            )
        answers = self._answers(artifact, pair.runtime)
        full = np.array(self.result.full_answers, np.int64)
        truth = self.faces.truth()
        timing = self._timing(artifact, point, pair)
        size = sum(entry.size for entry in artifact.manifest.files)
        if point.kind != "full":
            shutil.rmtree(artifact.folder, ignore_errors=True)
        return Measured(
            point=point,
            answers=compare_answers(answers, full, full if truth is None else truth),
            timing=timing,
            weights=weights.file,
            before=weights.before,
            model_bytes=size,
            seconds=round(time.monotonic() - started, 1),
        )

    def _timing(self, artifact: Artifact, point: Point, pair: Pair) -> Timing:
        """Return the timing beside the full model in the same precision and runtime."""
        if point.kind == "full":
            return self._own_timing(pair)
        full = self._full_artifact(pair.precision)
        _, (timing, reason) = self._time((full, pair.runtime), [(artifact, pair.runtime)])
        if timing is None:
            raise PointFailedError(f"{point.title} in {pair.title}: {reason}")
        return timing

    def _own_timing(self, pair: Pair) -> Timing:
        """Return the timing of the full model itself, once as fast as it is."""
        [timing] = [each.timing for each in self.result.variants if each.pair == pair]
        assert timing is not None  # the pair is the fastest that was measured
        return msgspec.structs.replace(timing, speedup=ONCE)

    def _time(
        self, full: tuple[Artifact, str], others: list[tuple[Artifact, str]]
    ) -> list[tuple[Timing | None, str | None]]:
        request = self.request
        return time_beside(
            full,
            others,
            rounds=request.rounds,
            seconds=request.seconds,
            threads=self.result.threads,
        )

    def _answers(self, artifact: Artifact, runtime: str) -> NDArray[np.int64]:
        """Return the class of each image ``(N,)``."""
        with open_backend(runtime, artifact, threads=self.result.threads) as opened:
            model = BatchedModel(
                runtime=opened,
                preprocessing=artifact.manifest.input.preprocessing,
                batch_size=min(BATCH_SIZE, artifact.manifest.max_batch),
            )
            logits = model.run(self.faces.pixels(), "logits", total=len(self.faces.samples))
        return np.asarray(logits.argmax(axis=1), np.int64)

    def _full_artifact(self, precision: Precision) -> Artifact:
        if precision not in self._full:
            assert self.source.checkpoint is not None
            weights = Weights(checkpoint=self.source.checkpoint, config=self.source.config)
            self._full[precision] = reuse_or_build(
                weights,
                precision,
                self._work(f"full-{precision}"),
                self.source,
                on_message=self.say,
            )
        return self._full[precision]

    def _trainer(self) -> Trainer:
        return Trainer(
            request=self.request,
            source=self.source,
            faces=self.faces,
            work=self.request.out / WORK,
            say=self.say,
        )

    def _work(self, name: str) -> Path:
        folder = self.request.out / WORK
        with write_errors(folder):
            make_folder(folder)
        return folder / name

    def _build(self, pick: Measured) -> None:
        assert self.result.pair is not None
        self.say(f"building {pick.point.title}")
        build_point(
            self._trainer().weights_of(pick.point),
            self.result.pair.precision,
            self.request.out / ARTIFACT,
            on_message=self.say,
            final=True,
        )

    def _keep(self, **changes: object) -> None:
        """Change the result and write it."""
        self.result = msgspec.structs.replace(self.result, **changes)
        write_result(self.result, self.request.out)


def fastest_pair(variants: tuple[Variant, ...]) -> Pair:
    """Return the fastest precision and runtime, a default runtime if it is almost as fast.

    Raises:
        PointFailedError: If none could be measured.
    """
    timed = [(each, each.timing.speedup.median) for each in variants if each.timing is not None]
    if not timed:
        reasons = "; ".join(f"{each.pair.title}: {each.reason}" for each in variants)
        raise PointFailedError(f"the full model could not be measured: {reasons}")
    best = max(times for _, times in timed)
    near = [each for each, times in timed if each.default and times * _CLOSE >= best]
    return (near or [each for each, times in timed if times == best])[0].pair


@contextlib.contextmanager
def _lock(out: Path) -> Iterator[None]:
    with write_errors(out):
        make_folder(out.parent)
    with write_lock(out) as locked:
        if not locked:
            raise FileError(
                f"{out} is being written by another run; wait for it, or choose another folder "
                "with --out"
            )
        yield
