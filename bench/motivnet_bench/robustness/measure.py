"""An artifact's answers to a dataset under each disturbance, beside those without any."""

from __future__ import annotations

import contextlib
import datetime
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact.manifest import ModelIdentity
from motivnet.datasets.read import EVALUATED, read_dataset
from motivnet.datasets.sample import Dataset, Sample, SplitName
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
from motivnet_training.unlabelled import NO_LABEL, holds_images_alone, read_every_image

logger = logging.getLogger(__name__)


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
    """Every disturbance from mild to strong, in the order of ``DISTURBANCES``.

    Without labels the answers to the images as they are stand for the truth: what is called
    accuracy is then the agreement with them. ``model`` identifies the weights.
    """

    format_version: Literal[1] = 1
    kind: Literal["robustness"] = "robustness"
    created: str
    command_line: str = ""
    artifact: str
    model: ModelIdentity | None = None
    runtime: str
    dataset: str
    dataset_format: str
    split: SplitName | None
    labelled: bool = True
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

    A folder of images alone has no labels: the answers to the images as they are stand for them. Of
    a dataset with splits only the test split is used, or the validation split if there is none.
    The same seed disturbs the same image in the same way, whatever else is measured.

    Raises:
        DatasetError: If the folder has no image that can be read, or many that cannot.
        RuntimeUnavailableError: If the runtime cannot be opened.
    """
    manifest = target.artifact.manifest
    labelled = not holds_images_alone(dataset, manifest.labels)
    found = (_labelled if labelled else _unlabelled)(dataset, manifest.labels, options)
    warn_of_untrained(target.artifact)
    name = options.runtime or default_runtime(target.artifact, trust_engines=options.trust_engines)
    truth = np.array([sample.label for sample in found.samples], np.int64)
    chosen = [each for each in DISTURBANCES if each.name in (options.disturbance or _NAMES)]
    total = 1 + sum(len(each.strengths) for each in chosen)
    settings: list[Setting] = []
    with (
        _saying_what_is_lost(settings, total=total - 1),
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
        if not labelled:
            truth = plain
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
        model=target.artifact.manifest.model_identity(),
        runtime=name,
        dataset=dataset.resolve().name,
        dataset_format=found.format,
        split=found.split,
        labelled=labelled,
        images=len(truth),
        right=int((plain == truth).sum()),
        seed=options.seed,
        skipped=found.skipped,
        settings=tuple(settings),
        environment=read_environment(),
    )


def _labelled(dataset: Path, labels: tuple[str, ...], options: RobustnessOptions) -> Dataset:
    return read_dataset(
        dataset,
        labels=labels,
        splits=EVALUATED,
        limit=options.limit,
        allow_outside=options.allow_outside,
    )


def _unlabelled(folder: Path, labels: tuple[str, ...], options: RobustnessOptions) -> Dataset:
    whole, split = read_every_image(
        folder,
        names=(*labels, NO_LABEL),
        seed=options.seed,
        validation_share=0.5,  # both parts are measured
        allow_outside=options.allow_outside,
    )
    readable = [sample for sample in whole.samples if sample.name in split.digests]
    return replace(whole, samples=tuple(readable[: options.limit]))


@contextlib.contextmanager
def _saying_what_is_lost(settings: Sequence[Setting], *, total: int) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        logger.warning(
            "interrupted after %d of %d settings: nothing is written; --disturbance measures one "
            "kind, --limit fewer images",
            len(settings),
            total,
        )
        raise


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
