"""AffectNet's first release: CSV lists beside images (Mollahosseini, Hasani & Mahoor 2017).

Its validation list is the test set here, as in the paper: AffectNet's own test set was never
published.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from motivnet.datasets.left_out import LeftOut
from motivnet.datasets.listing import (
    LabelledImage,
    Listing,
    collect,
    csv_rows,
    emotion_from_code,
    path_in_list,
)
from motivnet.datasets.sample import SplitName
from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS

NO_EMOTION = {8: "none", 9: "uncertain", 10: "no face"}
CODES = dict(enumerate(EMOTIONS)) | NO_EMOTION
"""What AffectNet's numbers mean; the last three are no emotions."""

COLUMNS = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height"),
    *("facial_landmarks", "expression", "valence", "arousal"),
)
"""Of the lists, in order: some copies lack the first line, which names them."""

_LISTS_FOLDER = "Manually_Annotated_file_lists"
_IMAGES_FOLDER = "Manually_Annotated_Images"
# The validation list comes first: the first entry of an image that is in both counts.
_LISTS: tuple[tuple[str, SplitName], ...] = (("validation.csv", "test"), ("training.csv", "train"))


def recognises(path: Path) -> bool:
    """Return whether one of the lists is there, in its folder or beside the folder of images."""
    return bool(_lists(path))


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return the images of the lists that are there, except those without an emotion.

    Raises:
        DatasetError: If there is no folder of images, a column is missing or an expression is not a
            number from 0 to 10.
    """
    images = _images_folder(path)
    if not images.is_dir():
        raise DatasetError(
            f"{images} is not a folder; put AffectNet's images there, in their folders"
        )
    return collect(_images(path, images), labels=labels)


def _images_folder(path: Path) -> Path:
    inside = path / "Manually_Annotated" / _IMAGES_FOLDER  # as its archive has it
    return inside if inside.is_dir() else path / _IMAGES_FOLDER


def _lists(path: Path) -> list[tuple[Path, SplitName]]:
    folder = path / _LISTS_FOLDER
    if not folder.is_dir() and _images_folder(path).is_dir():
        folder = path
    return [(folder / name, split) for name, split in _LISTS if (folder / name).is_file()]


def _images(path: Path, images: Path) -> Iterator[LabelledImage | LeftOut]:
    for file, split in _lists(path):
        rows = csv_rows(file, columns=("subDirectory_filePath", "expression"), order=COLUMNS)
        for line, (name, code) in rows:
            emotion = emotion_from_code(code, CODES, place=f"line {line} of {file}")
            if emotion in NO_EMOTION.values():
                yield LeftOut(f"labelled {emotion}", name)
            else:
                image = path_in_list(images, name, source=file)
                yield LabelledImage(name=name, image=image, emotion=emotion, split=split)
