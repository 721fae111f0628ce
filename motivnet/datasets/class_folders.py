"""Folders whose names are classes, with or without folders such as train and test around them.

A class folder has the name of a label or a common name of it (``happy``, ``7_Contempt`` …), and all
images below it are of that class. Numbers alone are those of AffectNet only if all of 0 to 7 are
there: 0 to 6 mean other emotions in FER2013 than in AffectNet, and 1 to 7 are those of RAF-DB.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from motivnet.datasets.image_folders import ImageFiles, subfolders, visible, walk_images
from motivnet.datasets.left_out import LeftOut, Tally, name_some, tally
from motivnet.datasets.listing import LabelledImage, Listing, collect
from motivnet.datasets.sample import SplitName
from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS, is_label, label_from_name
from motivnet.path_kind import is_folder
from motivnet.prediction import UNKNOWN
from motivnet.printable import counted

SPLITS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""The names of folders and lists of a split."""

NUMBERED = "image in a folder of a number, which means different emotions in different sets"
"""The reason under which such images are left out."""

LOOSE = "image in no class folder"

MAX_WRAPPERS = 4
"""Folders around a dataset, each of which holds no other folder."""

_NUMBERS = {str(number): emotion for number, emotion in enumerate(EMOTIONS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFolders:
    """Image paths by class, in the order of their names, and what was left out."""

    folder: Path
    paths: dict[str, tuple[Path, ...]]
    left_out: Tally = field(default_factory=Tally)

    def counts(self) -> dict[str, int]:
        """Return the number of images by class."""
        return {label: len(paths) for label, paths in self.paths.items()}


def recognises(path: Path) -> bool:
    """Return whether there is any folder in it; what its name means depends on the labels."""
    return is_folder(path) and bool(subfolders(path))


def holds_classes(path: Path, labels: Sequence[str]) -> bool:
    """Return whether a folder, or a folder of a split in it, has a folder named as a class."""
    names = {folder.name for folder in _candidates(path)}
    return set(_NUMBERS) <= names or any(label_from_name(name, labels) for name in names)


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return the images of the class folders; what else there is, is counted as left out.

    Raises:
        FileError: If a folder in it cannot be read.
    """
    found = walk_images(path)
    found.refuse_unreadable()
    numbers = _NUMBERS if set(_NUMBERS) <= {folder.name for folder in _candidates(path)} else {}

    def label_of(folder: str) -> str | None:
        return label_from_name(folder, labels) or numbers.get(folder)

    return collect(_entries(found, label_of), labels=labels, hidden=found.rubbish)


def read_class_folders(
    folder: Path, *, labels: Sequence[str], new_classes: bool = False
) -> ClassFolders:
    """Return the images of the class folders in a folder, and what was left out.

    Wrapper folders around them, as an archive has them, are looked through.

    Args:
        labels: The model's classes. The folder of an emotion that is not one of them is left out.
        new_classes: Whether a folder of any other name is a class of that name; else it is refused.

    Raises:
        DatasetError: If there is no class folder, one has a name that is not allowed, or it is not
            certain which folders are meant.
        FileError: If a folder in it cannot be read.
    """
    if not is_folder(folder):
        raise DatasetError(
            f"{folder} is not a folder; give one that holds a folder of images for each class"
        )
    root = _inside_wrappers(folder, labels, alone=new_classes)
    found = walk_images(root)
    found.refuse_unreadable()
    name_class = _new_names(root, labels) if new_classes else _known_names(root, labels)
    listed = list(beside(folder, root))
    paths: defaultdict[str, list[Path]] = defaultdict(list)
    for entry in _entries(found, name_class):
        if isinstance(entry, LeftOut):
            listed.append(entry)
        elif not new_classes and entry.emotion not in labels:
            reason = f"the model has no class {entry.emotion}"
            listed.append(LeftOut(reason, entry.name))
        else:
            paths[entry.emotion].append(root / entry.name)
    left_out = tally(listed, hidden=found.rubbish)
    if not paths:
        raise DatasetError(_no_classes(root, found, left_out))
    in_order = {label: tuple(files) for label, files in paths.items()}
    return ClassFolders(folder=folder, paths=in_order, left_out=left_out)


def _candidates(path: Path) -> Iterator[Path]:
    """Yield what may be class folders: in the folders of splits, and beside them."""
    for entry in subfolders(path):
        yield from _candidates(entry) if entry.name.casefold() in SPLITS else (entry,)


def _entries(
    found: ImageFiles, label_of: Callable[[str], str | None]
) -> Iterator[LabelledImage | LeftOut]:
    """Yield the images with the class of their folder, and what is left out."""
    yield from found.left_out
    said = {PurePath(entry.name).name for entry in found.left_out}  # linked folders
    empty = {folder.name for folder in _candidates(found.folder)} - said
    for file in found.files:
        relative = file.relative_to(found.folder)
        name, folders = relative.as_posix(), relative.parts[:-1]
        splits = [SPLITS[part.casefold()] for part in folders if part.casefold() in SPLITS]
        own = next((part for part in folders if part.casefold() not in SPLITS), None)
        empty.discard(own or "")
        emotion = None if own is None else label_of(own)
        if own is None:
            yield LeftOut(LOOSE, name)
        elif emotion is None:
            reason = NUMBERED if own.isdecimal() else f"unknown class folder {own}"
            yield LeftOut(reason, name)
        else:
            split = splits[0] if splits else None
            yield LabelledImage(name=name, image=file, emotion=emotion, split=split)
    for folder in sorted(empty):
        yield LeftOut("class folder without images", folder)


def _inside_wrappers(folder: Path, labels: Sequence[str], *, alone: bool) -> Path:
    """Return the folder that has class folders: itself, or the only one in it that has some.

    Args:
        alone: Whether there must be no other folder beside it, which could be a class.
    """
    root = folder
    for _ in range(MAX_WRAPPERS + 1):
        inside = subfolders(root)
        if any(label_from_name(entry.name, labels) for entry in inside):
            return root
        having = [entry for entry in inside if holds_classes(entry, labels)]
        if len(having) > 1:
            names = name_some([entry.relative_to(folder) for entry in having])
            raise DatasetError(
                f"{folder} has class folders in several folders ({names}); give one of these"
            )
        if len(inside) != 1 and (alone or not having):
            break
        root = (having or inside)[0]
    return folder


def beside(folder: Path, root: Path) -> Iterator[LeftOut]:
    """Yield what lies beside the folders on the way from a folder to one below it."""
    while root != folder:
        for entry in visible(root.parent):
            if entry != root:
                yield LeftOut("entry beside the dataset", entry.relative_to(folder).as_posix())
        root = root.parent


def _known_names(root: Path, labels: Sequence[str]) -> Callable[[str], str]:
    def label_of(name: str) -> str:
        label = label_from_name(name, labels)
        if label is None:
            raise DatasetError(
                f"{root / name} is not called as a class of the model, which has "
                f"{', '.join(labels)}; rename it, or take it out"
            )
        return label

    return label_of


def _new_names(root: Path, labels: Sequence[str]) -> Callable[[str], str]:
    """Return what names a class as the model does, or as the first folder of that name in any case.

    The common name of an emotion stands for it only beside a model of emotions.
    """
    of_emotions = not set(EMOTIONS).isdisjoint(labels)
    names: dict[str, str] = {}

    def label_of(name: str) -> str:
        label = label_from_name(name, labels)
        if label is None or not (of_emotions or label in labels):
            label = names.setdefault(name.casefold(), name)
            _check_new_class(root / name)
        return label

    return label_of


def _check_new_class(folder: Path) -> None:
    if not is_label(folder.name) or folder.name.casefold() == UNKNOWN:
        raise DatasetError(
            f"{folder} cannot be the name of a class; use printable text other than {UNKNOWN!r}"
        )
    inside = subfolders(folder)
    if inside and len(inside) == len(visible(folder)):
        raise DatasetError(
            f"{folder} holds folders ({_names(inside)}) and no images; give {folder} if they are "
            "the classes, else put their images into it"
        )


def _names(paths: Iterable[Path]) -> str:
    return name_some([path.name for path in paths])


def _no_classes(root: Path, found: ImageFiles, left_out: Tally) -> str:
    if not found.files:
        return f"{root} holds no image in class folders ({left_out}); fill it, or give another one"
    if LOOSE in left_out.counts and not subfolders(root):
        return (
            f"{root} has no class folders, and {counted(len(found.files), 'image')} in it "
            f"({_names(found.files)}); put the images of each class into a folder of its name"
        )
    return f"{root} holds no image of a class of the model ({left_out}); give another folder"
