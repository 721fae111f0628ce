"""Images in folders: the one walk that every command uses, and folders whose names are classes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from motivnet.errors import DatasetError
from motivnet.images import IMAGE_SUFFIXES
from motivnet.labels import EMOTIONS, is_label
from motivnet.prediction import UNKNOWN

T = TypeVar("T")

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
    emotion: emotion for emotion in EMOTIONS
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFolders:
    """Image paths by class, in the order of their names.

    ``skipped`` names the folders of emotions that the model does not have.
    """

    folder: Path
    paths: dict[str, tuple[Path, ...]]
    skipped: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return the number of images by class."""
        return {label: len(paths) for label, paths in self.paths.items()}


def visible(folder: Path) -> list[Path]:
    """Return the entries of a folder in the order of their names, without hidden ones."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def files_below(folder: Path, *, suffixes: Collection[str] = IMAGE_SUFFIXES) -> list[Path]:
    """Return the files in and below a folder in the order of their paths, without hidden ones.

    Args:
        suffixes: Of the files, in lower case. Nothing is opened to see whether it is an image.
    """
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.casefold() in suffixes
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def pick_evenly(items: Sequence[T], count: int) -> list[T]:
    """Return at most ``count`` items, spread evenly from the first to the last."""
    count = min(count, len(items))
    if count < 2:
        return list(items[:count])
    return [items[index * (len(items) - 1) // (count - 1)] for index in range(count)]


def label_of_folder(name: str, labels: Sequence[str] = ()) -> str | None:
    """Return the label that a folder's name means, in any case, or None.

    A name is one of the model's labels, an emotion, or what a common dataset calls an emotion
    (``happy``, ``angry``); the emotion need not be one of the labels.
    """
    name = name.casefold()
    named = {label.casefold(): label for label in labels}
    return named.get(name, _EMOTION_OF.get(name))


def read_class_folders(folder: Path, *, labels: Sequence[str] | None = None) -> ClassFolders:
    """Return the images of the class folders in a folder.

    Args:
        labels: The model's classes. A folder of an emotion that is not one of them is skipped, any
            other name is refused. With None, every folder is a class of that name.

    Raises:
        DatasetError: If there is no class folder, one has a name that is not allowed or no image,
            or two are of the same class.
    """
    if not folder.is_dir():
        raise DatasetError(
            f"{folder} is not a folder; give one that holds a folder of images for each class"
        )
    folders = [entry for entry in visible(folder) if entry.is_dir()]
    if not folders:
        raise DatasetError(
            f"{folder} has no class folders; put the images of each class into a folder of its name"
        )
    paths: dict[str, tuple[Path, ...]] = {}
    skipped: list[str] = []
    for entry in folders:
        label = _new_class(entry) if labels is None else _known_class(entry, labels)
        if labels is not None and label not in labels:
            skipped.append(entry.name)
        elif label in paths:
            raise DatasetError(
                f"{folder} holds two folders of the class {label}; put their images into one"
            )
        else:
            paths[label] = _images(entry)
    return ClassFolders(folder=folder, paths=paths, skipped=tuple(skipped))


def _new_class(folder: Path) -> str:
    if not is_label(folder.name) or folder.name.casefold() == UNKNOWN:
        raise DatasetError(
            f"{folder} cannot be the name of a class; use printable text other than {UNKNOWN!r}"
        )
    return folder.name


def _known_class(folder: Path, labels: Sequence[str]) -> str:
    label = label_of_folder(folder.name, labels)
    if label is None:
        raise DatasetError(
            f"{folder} is not called as a class of the model; give a folder whose folders are "
            f"{', '.join(labels)}"
        )
    return label


def _images(folder: Path) -> tuple[Path, ...]:
    images = tuple(file for file in visible(folder) if file.suffix.casefold() in IMAGE_SUFFIXES)
    if not images:
        raise DatasetError(
            f"{folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); remove it or fill it"
        )
    return images
