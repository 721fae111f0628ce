"""What the two versions of the MotivNet paper report, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from motivnet.datasets.sample import Part
from motivnet.labels import EMOTIONS

Version = Literal["first", "second"]


class _Data(NamedTuple):
    """A dataset that the paper tests on: layouts that hold the same images, the parts taken together, and classes."""

    name: str
    layouts: tuple[str, ...]
    parts: tuple[Part, ...]
    classes: tuple[str, ...]


_AFFECTNET = _Data(
    "AffectNet", ("AffectNet (CSV lists)", "AffectNet (npy labels)"), ("test",), EMOTIONS
)
_FER2013 = _Data(
    "FER2013", ("FER2013",), ("val", "test"), EMOTIONS[:7]
)  # PublicTest and PrivateTest: 7,178 images
_CK = _Data("CK+", (), (), EMOTIONS)  # which frames of its sequences the paper takes is not known

# The paper's recall is the macro recall (uar), its WAR the accuracy; the names are those of
# ClassificationFigures.
_TABLE: tuple[tuple[_Data, Version, dict[str, float]], ...] = (
    (
        _AFFECTNET,
        "first",
        {
            "accuracy": 0.5749,
            "uar": 0.5749,
            "macro_precision": 0.5799,
            "macro_f1": 0.5741,
            "auroc": 0.9039,
        },
    ),
    (_AFFECTNET, "second", {"accuracy": 0.6252}),
    (_FER2013, "second", {"accuracy": 0.5387}),
    (_CK, "second", {"accuracy": 0.80}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedResult:
    """What one version of the paper reports on one dataset.

    ``same_data`` says that ours are of the same part of that dataset, with all its classes.
    """

    dataset: str
    version: Version
    same_data: bool
    figures: dict[str, float]

    @property
    def title(self) -> str:
        """The dataset and the version in a few words."""
        return f"{self.dataset}, {self.version} version"


def published_results(
    layout: str | None = None,
    *,
    parts: tuple[Part, ...] | None = None,
    labels: tuple[str, ...] | None = None,
) -> tuple[PublishedResult, ...]:
    """Every published result, first version first.

    Args:
        layout: What the dataset of our own figures was recognised as; None where they are not of
        all of a part of it.
        parts: Those of its parts that our figures are of, none for a dataset without parts; None
        for the paper's.
        labels: The model's, without which a class is dropped from the dataset; None for all.
    """
    return tuple(
        PublishedResult(
            dataset=data.name,
            version=version,
            same_data=layout in data.layouts
            and (parts is None or set(parts) == set(data.parts))
            and (labels is None or set(data.classes) <= set(labels)),
            figures=dict(figures),
        )
        for data, version, figures in _TABLE
    )
