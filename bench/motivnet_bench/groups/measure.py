"""An artifact's answers to a dataset, by group of people."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact.manifest import ModelIdentity
from motivnet.datasets.read import EVALUATED, read_dataset
from motivnet.datasets.sample import Sample, SplitName
from motivnet.errors import GateError
from motivnet.metrics import ClassificationMetrics, compute_metrics
from motivnet.prediction import softmax
from motivnet.schema import Schema
from motivnet_bench.accuracy import logits_of_samples
from motivnet_bench.environment import Environment, read_environment
from motivnet_bench.groups.gap import (
    MIN_IMAGES,
    Gap,
    accuracy_interval,
    images_for_half_width,
    people_interval,
    units_of,
    worst_gap,
)
from motivnet_bench.groups.membership import FOLDER, folders_of, groups_of
from motivnet_bench.target import Target
from motivnet_engines.calibration.fitting import calibration_error
from motivnet_engines.inference.calibration import calibration_of_artifact
from motivnet_engines.runtimes.registry import open_backend
from motivnet_engines.runtimes.selection import default_runtime, warn_of_untrained


class Group(Schema, frozen=True, kw_only=True):
    """The metrics of one group.

    ``people`` is None where the dataset does not name them all. ``low`` and ``high`` are the ends
    of the accuracy's 95 % interval in percent; with ``enough_images``, each of another person, it
    would reach five points to each side. ``calibration_error`` is the expected calibration error of
    the probabilities that the artifact gives.
    """

    name: str
    people: int | None = None
    metrics: ClassificationMetrics
    calibration_error: float
    low: float
    high: float
    enough_images: int

    @property
    def is_compared(self) -> bool:
        """Whether it has the images to be compared at all."""
        return self.metrics.images >= MIN_IMAGES


class GroupsResult(Schema, frozen=True, kw_only=True):
    """The groups in the order of their names, and the two that are farthest apart.

    ``model`` identifies the weights. ``without_group`` counts the images that belong to none: no
    group's metrics have them. ``temperature`` is that of the artifact's calibration, 1 without one.
    """

    format_version: Literal[1] = 1
    kind: Literal["groups"] = "groups"
    created: str
    command_line: str = ""
    artifact: str
    model: ModelIdentity | None = None
    runtime: str
    temperature: float
    dataset: str
    dataset_format: str
    split: SplitName | None
    by: str
    labels: tuple[str, ...]
    images: int
    without_group: int
    skipped: dict[str, int]
    groups: tuple[Group, ...]
    gap: Gap | None
    max_gap: float | None = None
    environment: Environment

    def require(self) -> None:
        """Refuse a gap beyond ``max_gap``, or one that nothing shows.

        Raises:
            GateError: If so.
        """
        if self.max_gap is None:
            return
        if self.gap is None:
            raise GateError(
                f"no two groups have {MIN_IMAGES} images each: the gap cannot be measured"
            )
        if self.gap.points > self.max_gap:
            raise GateError(
                f"the model is right {self.gap.points:.1f} points less often for "
                f"{self.gap.worst} than for {self.gap.best}, more than --max-gap {self.max_gap:g} "
                f"(95 % interval {self.gap.low:.1f} to {self.gap.high:.1f}, p = {self.gap.p:.2g})"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsOptions:
    """How groups are measured.

    Args:
        by: A column of ``table``, of the dataset's own list or annotations, or ``folder``.
        table: A CSV file that names images and their groups.
        max_gap: The largest gap, in percentage points, that ``GroupsResult.require`` accepts.
        runtime: The artifact's default runtime if None.
        trust_engines: Whether the default may be an engine that this user did not build here.
        limit: Images per class at most, with folders in each.
    """

    by: str
    table: Path | None = None
    max_gap: float | None = None
    runtime: str | None = None
    trust_engines: bool = False
    threads: int | None = None
    limit: int | None = None
    allow_outside: bool = False


def measure_groups(
    target: Target,
    dataset: Path,
    options: GroupsOptions,
    *,
    command_line: str = "",
    on_message: Callable[[str], None] = lambda _: None,
) -> GroupsResult:
    """Measure how right an artifact is for each group of a dataset's images.

    Of a dataset with splits only the test split is used, or the validation split if there is none.

    Args:
        on_message: Called with a line about images that belong to no group.

    Raises:
        ConfigError: If there is no such column.
        DatasetError: If the images cannot be read, or a table is damaged.
        RuntimeUnavailableError: If the runtime cannot be opened.
    """
    labels, by = target.artifact.manifest.labels, options.by
    by_folder = by == FOLDER and options.table is None
    found = {
        name: read_dataset(
            root,
            labels=labels,
            splits=EVALUATED,
            limit=options.limit,
            allow_outside=options.allow_outside,
        )
        for name, root in (folders_of(dataset) if by_folder else {"": dataset}).items()
    }
    samples = tuple(sample for each in found.values() for sample in each.samples)
    groups: list[str | None]
    if by_folder:
        groups = [name for name, each in found.items() for _ in each.samples]
    else:
        known = groups_of(dataset, samples, by, table=options.table)
        groups = [known.get(sample.name) for sample in samples]
    without = groups.count(None)
    if without:
        on_message(f"{without:,} of {len(samples):,} images have no {by} and are left out")
    warn_of_untrained(target.artifact)
    name = options.runtime or default_runtime(target.artifact, trust_engines=options.trust_engines)
    calibration = calibration_of_artifact(target.artifact)
    temperature = 1.0 if calibration is None else calibration.metadata.temperature
    grouped = tuple(
        sample for sample, group in zip(samples, groups, strict=True) if group is not None
    )
    with open_backend(name, target.artifact, threads=options.threads) as opened:
        logits = logits_of_samples(target, opened, name, grouped)
    first = next(iter(found.values()))
    return GroupsResult(
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command_line=command_line,
        artifact=target.name,
        model=target.artifact.manifest.model_identity(),
        runtime=name,
        temperature=temperature,
        dataset=dataset.resolve().name,
        dataset_format=first.format,
        split=first.split,
        by=by,
        labels=labels,
        images=len(samples),
        without_group=without,
        skipped=_added(each.skipped for each in found.values()),
        groups=_by_group(
            softmax(logits / np.float32(temperature)), grouped, [g for g in groups if g], labels
        ),
        gap=worst_gap(
            logits.argmax(axis=1) == _truth(grouped),
            np.array([group for group in groups if group]),
            _truth(grouped),
            [sample.person for sample in grouped],
        ),
        max_gap=options.max_gap,
        environment=read_environment(),
    )


def _by_group(
    probabilities: NDArray[np.float64],
    samples: tuple[Sample, ...],
    groups: list[str],
    labels: tuple[str, ...],
) -> tuple[Group, ...]:
    members, truth = np.array(groups), _truth(samples)
    found = []
    for name in sorted(set(groups)):
        chosen = members == name
        metrics = compute_metrics(truth[chosen], probabilities[chosen], labels)
        right = probabilities[chosen].argmax(axis=1) == truth[chosen]
        people = [
            sample.person for sample, group in zip(samples, groups, strict=True) if group == name
        ]
        units = units_of(right, np.zeros(len(right), np.intp), truth[chosen], people)
        count = int(right.sum())
        alone = len(units.images) == metrics.images
        low, high = accuracy_interval(count, metrics.images) if alone else people_interval(units)
        found.append(
            Group(
                name=name,
                people=None if None in people else len(set(people)),
                metrics=metrics,
                calibration_error=calibration_error(
                    probabilities[chosen], truth[chosen].astype(np.intp)
                ),
                low=low,
                high=high,
                enough_images=images_for_half_width(count, metrics.images),
            )
        )
    return tuple(found)


def _truth(samples: tuple[Sample, ...]) -> NDArray[np.int64]:
    return np.array([sample.label for sample in samples], np.int64)


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)
