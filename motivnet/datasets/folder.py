"""Any folder with one folder of images per class, with folders such as train and test around them
or without.

A class folder is called as a label or as it is in a common dataset (``happy``, ``angry`` …), in any
case. Numbers are taken as AffectNet's only where all of 0 to 7 are there: 0 to 6 mean other
emotions in FER2013 than in AffectNet, and 1 to 7 are RAF-DB's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from motivnet.datasets.listing import Face, Listing, listing_of, visible
from motivnet.datasets.sample import Part
from motivnet.images import IMAGE_SUFFIXES
from motivnet.labels import EMOTIONS

PARTS: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""What folders of parts are called."""

_ALIASES = {
    "happiness": ("happy", "happily"),
    "sadness": ("sad",),
    "surprise": ("surprised",),
    "fear": ("fearful", "afraid"),
    "disgust": ("disgusted",),
    "anger": ("angry",),
    "contempt": ("contemptuous",),
}
_EMOTION_OF = {alias: emotion for emotion, aliases in _ALIASES.items() for alias in aliases} | {
    e: e for e in EMOTIONS
}
_NUMBERS = {str(number): emotion for number, emotion in enumerate(EMOTIONS)}


def recognises(path: Path) -> bool:
    """Whether there is any folder in it; what its name means depends on the model's labels."""
    return path.is_dir() and any(entry.is_dir() for entry in visible(path))


def listing(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """The images of the class folders; those of other folders are counted."""
    return listing_of(_faces(path, labels), labels=labels)


def emotion_from_name(name: str) -> str | None:
    """The emotion that a folder of a common dataset stands for."""
    return _EMOTION_OF.get(name.casefold())


def _faces(path: Path, labels: tuple[str, ...]) -> Iterator[Face | str]:
    named = {**_EMOTION_OF, **{label.casefold(): label for label in labels}}
    found: list[tuple[Path, Part | None]] = []
    for entry, part in _entries(path):
        if entry.is_dir():
            found.append((entry, part))
        else:
            yield "not in a class folder"
    if set(_NUMBERS) <= {folder.name for folder, _ in found}:
        named = _NUMBERS | named
    for folder, part in found:
        yield from _faces_of_class(
            folder, part, emotion=named.get(folder.name.casefold()), root=path
        )


def _entries(path: Path) -> Iterator[tuple[Path, Part | None]]:
    """What should be class folders: what lies in the folders of parts, and whatever else lies beside them."""
    for entry in visible(path):
        part = PARTS.get(entry.name.casefold())
        if part is not None and entry.is_dir():
            for below in visible(entry):
                yield below, part
        else:
            yield entry, None


def _faces_of_class(
    folder: Path, part: Part | None, *, emotion: str | None, root: Path
) -> Iterator[Face | str]:
    for file in visible(folder):
        if emotion is None:
            meaning = (
                ", a number that means different emotions in different sets"
                if folder.name.isdecimal()
                else ""
            )
            yield f"unknown class folder {folder.name}{meaning}"
        elif file.suffix.casefold() not in IMAGE_SUFFIXES:
            yield "not an image file"
        else:
            yield Face(
                name=file.relative_to(root).as_posix(), image=file, emotion=emotion, part=part
            )
