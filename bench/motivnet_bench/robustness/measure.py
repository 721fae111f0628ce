"""An artifact's answers to a dataset under each disturbance, beside those without any."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.datasets.read import EVALUATED, read_dataset
from motivnet.datasets.sample import Sample, SplitName
from motivnet.runtime import Runtime
from motivnet.schema import Schema
from motivnet.terminal import progress
from motivnet_bench.environment import Environment, read_environment
from motivnet_bench.intervals import Answers, compare_answers
from motivnet_bench.robustness.disturbances import DISTURBANCES, Disturbance, Pixels
from motivnet_bench.target import Target
from motivnet_engines.runtimes.registry import open_backend
from motivnet_engines.runtimes.selection import default_runtime, warn_of_untrained
from motivnet_engines.runtimes.signature import batch_from_images, profile_of


class Setting(Schema, frozen=True, kw_only=True):
    """One disturbance at one strength.

    ``answers`` compares the answers with those to the images as they are, and both with the truth;
    ``changed`` is the share of images whose answer is another one.
    """

    disturbance: str
    strength: float
    unit: str
    answers: Answers
    changed: float


class RobustnessResult(Schema, frozen=True, kw_only=True):
    """Every disturbance from mild to strong, in the order of ``DISTURBANCES``."""

    format_version: Literal[1] = 1
    kind: Literal["robustness"] = "robustness"
    created: str
    command_line: str = ""
    artifact: str
    runtime: str
    dataset: str
    dataset_format: str
    split: SplitName | None
    images: int
    right: int
    seed: int
    skipped: dict[str, int]
    settings: tuple[Setting, ...]
    environment: Environment

    @property
    def by_disturbance(self) -> dict[str, tuple[Setting, ...]]:
        """The settings by the name of their disturbance."""
        names = dict.fromkeys(each.disturbance for each in self.settings)
        return {
            name: tuple(each for each in self.settings if each.disturbance == name)
            for name in names
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustnessOptions:
    """How robustness is measured.

    Args:
        disturbance: Names of those to measure; all if empty.
        limit: Images per class at most, the first in order of path.
        seed: Of what varies between images, such as the side that they are turned to.
        runtime: The artifact's default runtime if None.
        trust_engines: Whether the default may be an engine that this user did not build here.
    """

    disturbance: tuple[str, ...] = ()
    limit: int | None = None
    seed: int = 0
    runtime: str | None = None
    trust_engines: bool = False
    threads: int | None = None
    allow_outside: bool = False


def measure_robustness(
    target: Target, dataset: Path, options: RobustnessOptions, *, command_line: str = ""
) -> RobustnessResult:
    """Measure how many answers stay right when the images are disturbed.

    Of a dataset with splits only the test split is used, or the validation split if there is none.
    The same seed disturbs the same image in the same way, whatever else is measured.

    Raises:
        DatasetError: If the folder has no image that can be read, or many that cannot.
        RuntimeUnavailableError: If the runtime cannot be opened.
    """
    manifest = target.artifact.manifest
    found = read_dataset(
        dataset,
        labels=manifest.labels,
        splits=EVALUATED,
        limit=options.limit,
        allow_outside=options.allow_outside,
    )
    warn_of_untrained(target.artifact)
    name = options.runtime or default_runtime(target.artifact, trust_engines=options.trust_engines)
    truth = np.array([sample.label for sample in found.samples], np.int64)
    chosen = [each for each in DISTURBANCES if each.name in (options.disturbance or _NAMES)]
    total = 1 + sum(len(each.strengths) for each in chosen)
    settings = []
    with (
        open_backend(name, target.artifact, threads=options.threads) as runtime,
        progress("answering", total=total * len(truth)) as advance,
    ):

        def answers(pixels: Iterator[Pixels]) -> NDArray[np.int64]:
            classes = []
            for each in pixels:
                classes.append(_answer(target, runtime, name, each))
                advance(1)
            return np.array(classes, np.int64)

        plain = answers(sample.pixels() for sample in found.samples)
        for each in chosen:
            for strength in each.strengths:
                disturbed = answers(disturb(found.samples, each, strength, seed=options.seed))
                settings.append(
                    Setting(
                        disturbance=each.name,
                        strength=strength,
                        unit=each.unit,
                        answers=compare_answers(disturbed, plain, truth),
                        changed=float((disturbed != plain).mean()),
                    )
                )
    return RobustnessResult(
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command_line=command_line,
        artifact=target.name,
        runtime=name,
        dataset=dataset.resolve().name,
        dataset_format=found.format,
        split=found.split,
        images=len(truth),
        right=int((plain == truth).sum()),
        seed=options.seed,
        skipped=found.skipped,
        settings=tuple(settings),
        environment=read_environment(),
    )


def disturb(
    samples: Sequence[Sample], disturbance: Disturbance, strength: float, *, seed: int
) -> Iterator[Pixels]:
    """Yield the images of samples, each disturbed as its place and the seed say."""
    for place, sample in enumerate(samples):
        random = np.random.default_rng((seed, place))
        yield disturbance.apply(sample.pixels(), strength, random)


def _answer(target: Target, runtime: Runtime, name: str, pixels: Pixels) -> int:
    manifest = target.artifact.manifest
    batch = batch_from_images(
        manifest.input, [np.ascontiguousarray(pixels)], profile=profile_of(manifest, name)
    )
    return int(runtime.run({runtime.inputs[0].name: batch})["logits"][0].argmax())


_NAMES = tuple(each.name for each in DISTURBANCES)
