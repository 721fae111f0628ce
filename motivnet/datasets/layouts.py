"""The layouts that are known, from the most specific to any folder of class folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from motivnet.datasets import (
    affectnet,
    affectnet_npy,
    ck48,
    ckplus,
    fer2013,
    ferplus,
    folder,
    jaffe,
    kdef,
    motivnet_json,
    rafdb,
)
from motivnet.datasets.listing import Listing
from motivnet.errors import DatasetError


class Reader(Protocol):
    """What the module of a layout offers."""

    def recognises(self, path: Path) -> bool:
        """Whether a path is laid out so, told by names without opening images."""

    def listing(self, path: Path, *, labels: tuple[str, ...]) -> Listing:
        """The samples below a path that the reader recognises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How one dataset lies on disk; ``name`` is for people."""

    name: str
    reader: Reader


LAYOUTS: tuple[Layout, ...] = (
    Layout(name="AffectNet (CSV lists)", reader=affectnet),
    Layout(name="AffectNet (npy labels)", reader=affectnet_npy),
    Layout(name="FER+", reader=ferplus),
    Layout(name="FER2013", reader=fer2013),
    Layout(name="RAF-DB", reader=rafdb),
    Layout(name="CK+", reader=ckplus),
    Layout(name="CK+48", reader=ck48),
    Layout(name="JAFFE", reader=jaffe),
    Layout(name="KDEF", reader=kdef),
    Layout(name="MotivNet JSON list", reader=motivnet_json),
    Layout(name="class folders", reader=folder),
)

REMEDIES = {
    ("CK+48", "neutral"): (
        "CK+48 has no neutral images: use CK+, or add them as neutral/S010_004_00000001.png and the like"
    ),
}
"""What to do about a class that a dataset never has, by the names of the layout and of the class."""


def layout_of(path: Path) -> Layout:
    """The first layout that recognises a folder or a file.

    Raises:
        DatasetError: If there is no such path, or no layout does.
    """
    if not path.exists():
        raise DatasetError(
            f"{path} is not a folder; give a folder with one folder of images per class, or a dataset's"
        )
    found = next((layout for layout in LAYOUTS if layout.reader.recognises(path)), None)
    if found is None:
        known = ", ".join(layout.name for layout in LAYOUTS)
        raise DatasetError(
            f"{path} is laid out as none of the datasets known: {known} such as neutral/ and happiness/"
        )
    return found
