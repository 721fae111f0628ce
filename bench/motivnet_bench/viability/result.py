"""What judging a MotivNet by the three criteria leaves: values that go to JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from motivnet.config import ModelConfig
from motivnet.datasets.published import PublishedResult
from motivnet.metrics import ClassificationFigures
from motivnet.preprocess import InputRecipe
from motivnet_bench.environment import Environment
from motivnet_bench.viability.bootstrap import Estimate

Shape = tuple[int, ...]
Place = Literal["below", "within", "above"]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a figure of ours lies among the published ones of that name, of which ``datasets`` are compared with."""

    place: Place
    ours: float
    lowest: float
    highest: float
    datasets: tuple[str, ...]
    same_data: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """The figures on one labelled folder, the published ones, and by name where ours lie among them."""

    dataset: str
    layout: str
    figures: ClassificationFigures
    published: tuple[PublishedResult, ...]
    standings: dict[str, Standing]
    unreadable: dict[str, str]
    skipped: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A weight, by our name, that one model has and the other lacks, or has in another shape; None where it lacks."""

    name: str
    motivnet: Shape | None
    encoder: Shape | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How far one weight moved: norm of the difference over the norm before; None if it was zero and is no more."""

    name: str
    relative: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSimilarity:
    """How much of a MotivNet is the Sapiens encoder that it started from.

    A weight is common that both have under the same name and in the same shape; a module is common
    if all the weights that it holds itself are. ``bit_equal`` is the share of the numbers in common
    weights that have the same bits in FP32; ``relative_change`` is that of all common weights taken
    together as one vector. Both are None where there is no common weight.
    """

    encoder: str
    sha256: str
    layout: str
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
        """The common part of the MotivNet's parameters."""
        return self.common_parameters / self.parameters

    @property
    def module_share(self) -> float:
        """The common part of the MotivNet's modules."""
        return self.common_modules / self.modules

    @property
    def largest_change(self) -> Change | None:
        """The weight that moved most; one that was zero before counts above all others."""
        return max(
            self.changes,
            key=lambda change: (change.relative is None, change.relative or 0.0),
            default=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """A folder of images: how many were read, the mean square of their embeddings' deviation, and
    what was not read.

    ``points`` are some of the embeddings in the plane of the two largest principal components of
    both sets.
    """

    folder: str
    images: int
    variance: float
    points: tuple[Point, ...]
    unreadable: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSimilarity:
    """How alike the encoder sees two folders; ``mean_distance`` is the means' part of the Frechet distance."""

    data: ImageSet
    reference: ImageSet
    dimensions: int
    frechet: Estimate
    mean_distance: float
    alignment: Estimate
    resamples: int
    seed: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CriteriaResult:
    """A whole run; a criterion that was not asked for is empty or None."""

    format_version: Literal[1] = 1
    kind: Literal["criteria"] = "criteria"
    created: str
    command: str
    checkpoint: str
    sha256: str
    config: ModelConfig
    labels: tuple[str, ...]
    recipe: InputRecipe
    device: str
    environment: Environment
    performance: tuple[Performance, ...]
    model: ModelSimilarity | None
    data: DataSimilarity | None
