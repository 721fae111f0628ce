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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from motivnet.errors import (
    CheckpointError,
    ExportError,
    FileError,
    ParityError,
    RuntimeUnavailableError,
    TrainingError,
)
from motivnet.files import make_folder, write_errors
from motivnet.processors import count_physical_cores
from motivnet.workspace import write_lock
from motivnet_bench.environment import read_environment
from motivnet_bench.optimise.choice import choose, knee, nearest, reason_to_skip
from motivnet_bench.optimise.data import Faces, check_enough, read_faces
from motivnet_bench.optimise.measuring import Bench, fastest_pair
from motivnet_bench.optimise.models import build_point
from motivnet_bench.optimise.plan import Point, plan_points
from motivnet_bench.optimise.request import OptimiseRequest
from motivnet_bench.optimise.result import (
    Limits,
    Measured,
    OptimiseResult,
    Setup,
    Skipped,
    read_earlier,
    write_result,
)
from motivnet_bench.optimise.sentences import describe_outcome
from motivnet_bench.optimise.weights import Trainer
from motivnet_export.source import ModelSource, model_source

logger = logging.getLogger(__name__)

ARTIFACT = "artifact"
WORK = "work"
"""Folder of the artifacts that are measured; removed when all are."""

_SOFTWARE = ("motivnet", "torch", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt")
_KEPT = ("full_answers", "variants", "pair", "measured")
"""What a run takes over from an earlier one."""

_FAILURES = (ParityError, ExportError, TrainingError, RuntimeUnavailableError)
"""What concerns one point; the others are measured all the same."""


def optimise(
    request: OptimiseRequest,
    *,
    command_line: str = "",
    on_message: Callable[[str], None] = logger.warning,
) -> OptimiseResult:
    """Measure, pick and build; the result is in ``request.out``, the artifact in it.

    Args:
        command_line: Repeats the run, for the page.
        on_message: Called with a line for each point that was measured or failed.

    Raises:
        CheckpointError: If the checkpoint cannot be loaded, or has no head.
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
    result = _new_result(request, source, faces, command_line)
    with _lock(request.out):
        if (earlier := read_earlier(request.out, result.setup)) is not None:
            result = replace(result, **{name: getattr(earlier, name) for name in _KEPT})
            if number := len(earlier.measured):
                on_message(f"measured before and kept: {number} point{'s' * (number > 1)}")
        run = Run(request=request, source=source, faces=faces, result=result, say=on_message)
        run.compare_pairs()
        for point in plan:
            run.measure(point)
        run.finish()
        return run.result


@dataclass(slots=True, kw_only=True)
class Run:
    """The state of an optimisation, which is written after each step."""

    request: OptimiseRequest
    source: ModelSource
    faces: Faces
    result: OptimiseResult
    say: Callable[[str], None]
    _bench: Bench | None = None

    @property
    def bench(self) -> Bench:
        """What measures, with the artifacts of the full model."""
        if self._bench is None:
            self._bench = Bench(
                request=self.request,
                source=self.source,
                faces=self.faces,
                threads=self.result.threads,
                work=self.request.out / WORK,
                say=self.say,
            )
        return self._bench

    @property
    def trainer(self) -> Trainer:
        """What makes the weights of points."""
        return Trainer(
            request=self.request,
            source=self.source,
            faces=self.faces,
            work=self.request.out / WORK,
            say=self.say,
        )

    def compare_pairs(self) -> None:
        """Measure the full model in each precision and runtime; all points use the fastest."""
        if self.result.pair is not None:
            return
        variants = self.bench.compare_pairs()
        answers = self.bench.full_answers()
        pair = fastest_pair(variants)
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
            reason = self._try(point)
        if reason is not None:
            skipped = (*self.result.skipped, Skipped(point=point, reason=reason))
            self.result = replace(self.result, skipped=skipped)

    def finish(self) -> None:
        """Pick, and build the pick.

        Raises:
            RuntimeUnavailableError: If nothing could be measured.
        """
        measured, limits = self.result.measured, self.result.limits
        if not measured:
            reason = self.result.skipped[0].reason
            raise RuntimeUnavailableError(f"nothing could be measured: {reason}")
        candidates = measured
        if limits.max_drop is not None and len(measured) > 1:  # the full model is no saving
            candidates = tuple(each for each in measured if each.point.kind != "full")
        pick, bend = choose(candidates, limits), knee(measured)
        near = nearest(candidates, limits)
        self._keep(
            knee=bend.point.key if bend else None,
            pick=pick.point.key if pick else None,
            outcome=describe_outcome(self.result, pick, near),
        )
        if pick is not None:
            self._build(pick)
        self._keep(complete=True)
        shutil.rmtree(self.request.out / WORK, ignore_errors=True)

    def _try(self, point: Point) -> str | None:
        """Measure a point and keep the result; return why that failed, if it did."""
        started = time.monotonic()
        pair, full = self.result.pair, np.array(self.result.full_answers, np.int64)
        assert pair is not None  # compare_pairs comes first
        try:
            weights = self.trainer.weights_of(point)
            each = self.bench.measure(point, weights, pair, full)
        except _FAILURES as error:
            self.say(f"{point.title} could not be measured: {error}")
            return f"it could not be measured: {error}"
        each = replace(each, seconds=round(time.monotonic() - started, 1))
        self._keep(measured=(*self.result.measured, each))
        self.say(
            f"{point.title}: {each.times_faster:.1f}x as fast, "
            f"{each.answers.accuracy.value:.1f}% right"
        )
        return None

    def _build(self, pick: Measured) -> None:
        assert self.result.pair is not None  # the pick was measured in it
        self.say(f"building {pick.point.title}")
        build_point(
            self.trainer.weights_of(pick.point),
            self.result.pair.precision,
            self.request.out / ARTIFACT,
            on_message=self.say,
            final=True,
        )

    def _keep(self, **changes: object) -> None:
        """Change the result and write it."""
        self.result = replace(self.result, **changes)
        write_result(self.result, self.request.out)


def _new_result(
    request: OptimiseRequest, source: ModelSource, faces: Faces, command_line: str
) -> OptimiseResult:
    environment = read_environment()
    versions = environment.versions
    return OptimiseResult(
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command_line=command_line,
        setup=Setup(
            checkpoint=source.name,
            checkpoint_sha256=source.sha256 or "",
            dataset=request.dataset.resolve().name,
            dataset_sha256=faces.sha256,
            refit=request.refit,
            student=request.student,
            processor=environment.processor,
            software={name: versions[name] for name in _SOFTWARE if name in versions},
        ),
        limits=Limits(
            max_drop=request.max_drop, max_ms=request.max_ms, max_gflop=request.max_gflop
        ),
        data=faces.entry,
        environment=environment,
        threads=count_physical_cores(),
    )


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
