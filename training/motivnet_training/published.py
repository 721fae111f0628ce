"""What the two versions of the MotivNet paper report, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Version = Literal["first", "second"]

_Row = tuple[str, Version, tuple[str, ...], dict[str, float]]

_AFFECTNET = ("AffectNet (CSV lists)", "AffectNet (npy labels)")

# Dataset, version of the paper, names of the layouts that hold this dataset, and values by the name that they have in
# ClassificationFigures. The paper's recall is the macro recall (uar), its WAR the accuracy.
_TABLE: tuple[_Row, ...] = (
    (
        "AffectNet",
        "first",
        _AFFECTNET,
        {"accuracy": 0.5749, "uar": 0.5749, "macro_precision": 0.5799, "macro_f1": 0.5741, "auroc": 0.9039},
    ),
    ("AffectNet", "second", _AFFECTNET, {"accuracy": 0.6252}),
    ("FER2013", "second", ("FER2013",), {"accuracy": 0.5387}),
    ("CK+", "second", ("CK+",), {"accuracy": 0.80}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedResult:
    """What one version of the paper reports on one dataset; ``same_data`` says that ours are of that dataset too."""

    dataset: str
    version: Version
    same_data: bool
    figures: dict[str, float]

    @property
    def title(self) -> str:
        """The dataset and the version in a few words."""
        return f"{self.dataset}, {self.version} version"


def published_results(layout: str | None = None) -> tuple[PublishedResult, ...]:
    """Every published result, first version first.

    Args:
        layout: What the dataset of our own figures was recognised as.
    """
    return tuple(
        PublishedResult(dataset=dataset, version=version, same_data=layout in layouts, figures=dict(figures))
        for dataset, version, layouts, figures in _TABLE
    )
