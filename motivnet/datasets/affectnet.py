"""AffectNet's first release: CSV lists beside a folder of images (Mollahosseini, Hasani & Mahoor
2017).

Its validation list is the test set here, as in the paper: AffectNet's own test set was never given
out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from motivnet.datasets.listing import Face, Listing, codes_from, emotion_from_code, listing_of
from motivnet.datasets.rows import csv_rows
from motivnet.datasets.sample import Part
from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS

NO_EMOTION = {8: "none", 9: "uncertain", 10: "no face"}
CODES = codes_from(EMOTIONS) | NO_EMOTION
"""What AffectNet's numbers mean; the last three are no emotions."""

_LISTS_FOLDER = "Manually_Annotated_file_lists"
_IMAGES_FOLDER = "Manually_Annotated_Images"
# The validation list comes first, because of an image that is in both the first entry counts.
_LISTS: tuple[tuple[str, Part], ...] = (("validation.csv", "test"), ("training.csv", "train"))


def recognises(path: Path) -> bool:
    """Whether one of the two lists is there, in the folder of lists or beside the folder of images."""
    return bool(_lists(path))


def listing(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """The images of the lists that are there, except those without an emotion.

    Raises:
        DatasetError: If there is no folder of images, a column is missing or an expression is no
        number from 0 to 10.
    """
    images = path / _IMAGES_FOLDER
    if not images.is_dir():
        raise DatasetError(
            f"{images} is not a folder; put AffectNet's images there, in their folders"
        )
    return listing_of(_faces(path, images), labels=labels)


def _lists(path: Path) -> list[tuple[Path, Part]]:
    folder = path / _LISTS_FOLDER
    if not folder.is_dir() and (path / _IMAGES_FOLDER).is_dir():
        folder = path
    return [(folder / name, part) for name, part in _LISTS if (folder / name).is_file()]


def _faces(path: Path, images: Path) -> Iterator[Face | str]:
    for file, part in _lists(path):
        for line, (name, code) in csv_rows(file, columns=("subDirectory_filePath", "expression")):
            emotion = emotion_from_code(code, CODES, place=f"line {line} of {file}")
            if emotion in NO_EMOTION.values():
                yield f"labelled {emotion}"
            else:
                yield Face(name=name, image=images / name, emotion=emotion, part=part)
