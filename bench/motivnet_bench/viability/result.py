"""The result of a viability run: values that are written to JSON."""

from __future__ import annotations

from typing import Literal, TypeAlias

from motivnet.config import ModelConfig
from motivnet.metrics import ClassificationMetrics, PublishedResult
from motivnet.preprocess import Preprocessing
from motivnet.schema import Schema
from motivnet_bench.environment import Environment

Shape: TypeAlias = tuple[int, ...]
Point: TypeAlias = tuple[float, float]


class Standing(Schema, frozen=True, kw_only=True):
    """Where a metric of ours is among the published ones, of which ``datasets`` are compared."""

    place: Literal["below", "within", "above"]
    ours: float
    lowest: float
    highest: float
    datasets: tuple[str, ...]
    same_data: bool


class Performance(Schema, frozen=True, kw_only=True):
    """The metrics on one labelled dataset, the published ones, and by name where ours stand.

    ``left_out`` is the line that tells what they do not cover.
    """

    dataset: str
    dataset_format: str
    metrics: ClassificationMetrics
    published: tuple[PublishedResult, ...]
    standings: dict[str, Standing]
    unreadable: dict[str, str]
    skipped: dict[str, int]
    left_out: str = ""


class Difference(Schema, frozen=True, kw_only=True):
    """A weight that one model lacks (None), or has in another shape than the other."""

    name: str
    motivnet: Shape | None
    encoder: Shape | None


class Change(Schema, frozen=True, kw_only=True):
    """How far a weight moved, relative to its norm before; None if that was zero."""

    name: str
    relative: float | None


class ModelSimilarity(Schema, frozen=True, kw_only=True):
    """How much of a MotivNet is the Sapiens encoder that it was trained from.

    A weight is common if both have it under the same name and in the same shape; a module is common
    if all the weights that it holds itself are. ``bit_equal`` is the share of the numbers in common
    weights that have the same bits in FP32; ``relative_change`` is that of all common weights taken
    together as one vector. Both are None if there is no common weight.
    """

    encoder: str
    sha256: str
    key_layout: str
    parameters: int
    common_parameters: int
    modules: int
    common_modules: int
    differences: tuple[Difference, ...]
    bit_equal: float | None
    relative_change: float | None
    changes: tuple[Change, ...]

    @property
    def parameter_share(self) -> float:
        """The common share of the MotivNet's parameters."""
        return self.common_parameters / self.parameters

    @property
    def module_share(self) -> float:
        """The common share of the MotivNet's modules."""
        return self.common_modules / self.modules

    def largest_changes(self) -> list[Change]:
        """Return the changes, largest first; one from zero counts as the largest."""
        return sorted(
            self.changes, key=lambda each: (each.relative is not None, -(each.relative or 0.0))
        )


class Estimate(Schema, frozen=True, kw_only=True):
    """A statistic, and the interval that holds 95 % of its values over bootstrap samples."""

    value: float
    low: float
    high: float

    @property
    def inside(self) -> bool:
        """Whether the value is in its interval; that of a biased statistic need not be."""
        return self.low <= self.value <= self.high


class ImageSet(Schema, frozen=True, kw_only=True):
    """A folder of images: how many were read, and what was not read.

    ``variance`` is the mean square of their embeddings' deviation. ``points`` are some of the
    embeddings in the plane of the two largest principal components of both sets.
    """

    folder: str
    images: int
    variance: float
    points: tuple[Point, ...]
    unreadable: dict[str, str]
    left_out: str = ""


class DataSimilarity(Schema, frozen=True, kw_only=True):
    """How similar the embeddings of two folders are.

    ``mean_distance`` is the share of the means in the Frechet distance.
    """

    data: ImageSet
    reference: ImageSet
    dimensions: int
    frechet: Estimate
    mean_distance: float
    alignment: Estimate
    resamples: int
    seed: int
    warnings: tuple[str, ...]


class ViabilityResult(Schema, frozen=True, kw_only=True):
    """A whole run; a criterion that was not asked for is empty or None."""

    format_version: Literal[1] = 1
    kind: Literal["viability"] = "viability"
    created: str
    command_line: str
    checkpoint: str
    sha256: str
    config: ModelConfig
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    device: str
    environment: Environment
    performance: tuple[Performance, ...]
    model: ModelSimilarity | None
    data: DataSimilarity | None
