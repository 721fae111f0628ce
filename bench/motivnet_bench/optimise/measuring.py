"""The measurements of a point: its artifact, its answers to the images, and its time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.errors import MotivNetError, RuntimeUnavailableError
from motivnet.files import make_folder, write_errors
from motivnet.parity import Precision
from motivnet_bench.intervals import compare_answers
from motivnet_bench.optimise.data import Faces
from motivnet_bench.optimise.models import (
    Weights,
    build_point,
    precisions_here,
    reuse_or_build,
)
from motivnet_bench.optimise.plan import Point
from motivnet_bench.optimise.request import OptimiseRequest
from motivnet_bench.optimise.result import Measured, Pair, Timing, Variant
from motivnet_bench.optimise.timing import time_beside
from motivnet_bench.viability.performance import BatchedModel
from motivnet_engines.runtimes.registry import open_backend
from motivnet_engines.runtimes.selection import (
    default_runtime,
    installed_runtimes,
    is_default_choice,
)
from motivnet_export.source import ModelSource

BATCH_SIZE = 8
"""Of the images that accuracy is measured on."""


@dataclass(slots=True, kw_only=True)
class Bench:
    """Measures models on this machine; ``work`` is for the artifacts that it builds."""

    request: OptimiseRequest
    source: ModelSource
    faces: Faces
    threads: int
    work: Path
    say: Callable[[str], None]
    _full: dict[Precision, Artifact] = field(default_factory=dict)

    def compare_pairs(self) -> tuple[Variant, ...]:
        """Return the full model in each precision and runtime, beside FP32 in its default runtime.

        Only runtimes that passed the parity check, and that do not round an FP32 artifact, take
        part.
        """
        models: list[tuple[Pair, Artifact, bool]] = []
        for precision in precisions_here():
            try:
                artifact = self.full_artifact(precision)
            except MotivNetError as error:
                if precision == "fp32":
                    raise
                self.say(f"{precision} is left out: {error}")
                continue
            default = default_runtime(artifact)
            models += [
                (Pair(precision=precision, runtime=name), artifact, name == default)
                for name in installed_runtimes(artifact)
                if is_default_choice(artifact.manifest, name)
            ]
        models.sort(key=lambda model: not (model[2] and model[0].precision == "fp32"))
        first, *others = [(artifact, pair.runtime) for pair, artifact, _ in models]
        timed = self._time(first, others)
        return tuple(
            Variant(pair=pair, default=is_default, timing=timing, reason=reason)
            for (pair, _, is_default), (timing, reason) in zip(models, timed, strict=True)
        )

    def full_answers(self) -> NDArray[np.int64]:
        """Return the classes ``(N,)`` that the full model gives in FP32, in its default runtime."""
        artifact = self.full_artifact("fp32")
        return self._answers(artifact, default_runtime(artifact))

    def measure(
        self, point: Point, weights: Weights, pair: Pair, full_answers: NDArray[np.int64]
    ) -> Measured:
        """Return what a point is like in a precision and runtime, beside the full model in it.

        Raises:
            ParityError, ExportError: If its artifact is not close enough to PyTorch.
            RuntimeUnavailableError: If it cannot be run.
        """
        started = time.monotonic()
        full = self.full_artifact(pair.precision)
        artifact = full
        if point.kind != "full":
            artifact = build_point(
                weights, pair.precision, self._folder(point.key), on_message=self.say
            )
        answers, truth = self._answers(artifact, pair.runtime), self.faces.truth()
        others = [] if point.kind == "full" else [(artifact, pair.runtime)]
        timing, reason = self._time((full, pair.runtime), others)[-1]
        if timing is None:
            raise RuntimeUnavailableError(f"{point.title} in {pair.title}: {reason}")
        if point.kind != "full":
            shutil.rmtree(artifact.folder, ignore_errors=True)
        return Measured(
            point=point,
            answers=compare_answers(
                answers, full_answers, full_answers if truth is None else truth
            ),
            timing=timing,
            weights=weights.file,
            before=weights.before,
            model_bytes=sum(entry.size for entry in artifact.manifest.files),
            seconds=round(time.monotonic() - started, 1),
        )

    def full_artifact(self, precision: Precision) -> Artifact:
        """Return the artifact of the full model, which is built once."""
        if precision not in self._full:
            assert self.source.checkpoint is not None  # an optimisation begins with a checkpoint
            self._full[precision] = reuse_or_build(
                Weights(checkpoint=self.source.checkpoint, config=self.source.config),
                precision,
                self._folder(f"full-{precision}"),
                self.source,
                on_message=self.say,
            )
        return self._full[precision]

    def _answers(self, artifact: Artifact, runtime: str) -> NDArray[np.int64]:
        """Return the class of each image ``(N,)``."""
        with open_backend(runtime, artifact, threads=self.threads) as opened:
            model = BatchedModel(
                runtime=opened,
                preprocessing=artifact.manifest.input.preprocessing,
                batch_size=min(BATCH_SIZE, artifact.manifest.max_batch),
            )
            logits = model.run(self.faces.pixels(), "logits", total=len(self.faces.samples))
        return np.asarray(logits.argmax(axis=1), np.int64)

    def _time(
        self, full: tuple[Artifact, str], others: list[tuple[Artifact, str]]
    ) -> list[tuple[Timing | None, str | None]]:
        return time_beside(
            full,
            others,
            rounds=self.request.rounds,
            seconds=self.request.seconds,
            threads=self.threads,
        )

    def _folder(self, name: str) -> Path:
        with write_errors(self.work):
            make_folder(self.work)
        return self.work / name


def fastest_pair(variants: tuple[Variant, ...]) -> Pair:
    """Return the fastest precision in its default runtime, or one that is faster beyond doubt.

    Beyond doubt means in every round: ``motivnet predict`` takes the default runtime unasked.

    Raises:
        RuntimeUnavailableError: If none could be measured.
    """
    timed = [(each, each.timing.speedup) for each in variants if each.timing is not None]
    if not timed:
        reasons = "; ".join(f"{each.pair.title}: {each.reason}" for each in variants)
        raise RuntimeUnavailableError(f"the full model could not be measured: {reasons}")
    by_speed = sorted(timed, key=lambda each: -each[1].median)
    best, speed = next((each for each in by_speed if each[0].default), by_speed[0])
    for other, faster in by_speed:
        if faster.smallest > speed.largest:
            return other.pair
    return best.pair
