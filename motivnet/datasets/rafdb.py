"""RAF-DB's basic emotions (Li, Deng & Du 2017), as released and as Kaggle has them.

The release has a list of names and numbers beside the aligned faces. The copies have folders of
these numbers, which are RAF-DB's only if the files in them are named as in RAF-DB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from motivnet.datasets.image_folders import ImageFiles, first_images, subfolders, walk_images
from motivnet.datasets.left_out import LeftOut
from motivnet.datasets.listing import (
    LabelledImage,
    Listing,
    collect,
    csv_rows,
    emotion_from_code,
    word_lines,
)
from motivnet.datasets.sample import Sample, SplitName
from motivnet.errors import DatasetError

CODES = dict(
    enumerate(("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"), 1)
)

_LISTS = ("list_patition_label.txt", "list_partition_label.txt")  # the first is the release's
_COPIED_LISTS = ("train_labels.csv", "test_labels.csv")
_COPIED_COLUMNS = ("image", "label")
_INSIDE = "DATASET"  # the folder beside these lists
_POINTS = 5
_ATTRIBUTES = {
    "gender": {"0": "male", "1": "female", "2": "unsure"},
    "race": {"0": "Caucasian", "1": "African-American", "2": "Asian"},
    "age": {"0": "0 to 3", "1": "4 to 19", "2": "20 to 39", "3": "40 to 69", "4": "70 and more"},
}
"""What the lines after the points of a manual annotation stand for."""

_SPLITS: dict[str, SplitName] = {"train": "train", "test": "test"}
_NUMBERS = frozenset(map(str, CODES))
_NAME = re.compile(r"(train|test)_\d+(_aligned)?\.[a-z]+", re.IGNORECASE)


def recognises(path: Path) -> bool:
    """Return whether the list is there, or folders of numbers with files of RAF-DB's names."""
    return _list(path) is not None or _numbered(path) is not None


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return the aligned faces, in the splits that their names tell.

    Raises:
        DatasetError: If the faces are not there, or a line is not a name and a number from 1 to 7.
    """
    file = _list(path)
    if file is None:
        found = walk_images(_numbered(path) or path)
        found.refuse_unreadable()
        images = _numbered_images(found, _listed_codes(path))
        return collect(images, labels=labels, hidden=found.rubbish)
    root = file.parent.parent if file.parent.name == "EmoLabel" else file.parent
    aligned = _aligned(root)
    if not aligned.is_dir():
        raise DatasetError(f"{aligned} is not a folder; unpack RAF-DB's aligned.zip there")
    return collect(_listed_images(file, aligned), labels=labels)


def attributes(path: Path, samples: Sequence[Sample], name: str) -> dict[str, str] | None:
    """Return the gender, race or age of faces, by sample, as RAF-DB's annotators saw them.

    None if the release's manual annotations are not beside the list, or have no such attribute.

    Raises:
        DatasetError: If an annotation does not hold five points and three numbers.
    """
    file = _list(path)
    if file is None or name.casefold() not in _ATTRIBUTES:
        return None
    root = file.parent.parent if file.parent.name == "EmoLabel" else file.parent
    folder = root / "Annotation" / "manual"
    if not folder.is_dir():
        return None
    place = list(_ATTRIBUTES).index(name.casefold())
    values = _ATTRIBUTES[name.casefold()]
    found = {}
    for sample in samples:
        stem = PurePosixPath(sample.name).stem.removesuffix("_aligned")
        annotation = folder / f"{stem}_manu_attri.txt"
        if not annotation.is_file():
            continue
        numbers = [words[0] for _, words in word_lines(annotation)][_POINTS:]
        if len(numbers) != len(_ATTRIBUTES) or numbers[place] not in values:
            raise DatasetError(
                f"{annotation} is not like RAF-DB's: {_POINTS} points, then gender, race and age"
            )
        found[sample.name] = values[numbers[place]]
    return found


def _list(path: Path) -> Path | None:
    """Return the list, in its folder or beside the images, also in the folder ``basic``."""
    folders = [path / inside for inside in ("basic/EmoLabel", "EmoLabel", "basic", "")]
    return next((f / name for f in folders for name in _LISTS if (f / name).is_file()), None)


def _aligned(root: Path) -> Path:
    """Return the folder of aligned faces; an archive that was unpacked into one has a second."""
    places = ("Image/aligned/aligned", "Image/aligned", "aligned/aligned", "aligned")
    return next((root / place for place in places if (root / place).is_dir()), root / places[1])


def _listed_images(file: Path, images: Path) -> Iterator[LabelledImage]:
    for line, words in word_lines(file):
        place = f"line {line} of {file}"
        name = words[0]
        split = _SPLITS.get(name.partition("_")[0])
        if len(words) < 2 or split is None:
            raise DatasetError(
                f"{place} is not like 'train_00001.jpg 5'; use the list as RAF-DB brings it"
            )
        yield LabelledImage(
            name=name,
            image=_aligned_image(images / name),
            emotion=emotion_from_code(words[1], CODES, place=place),
            split=split,
        )


def _aligned_image(named: Path) -> Path:
    """Return the aligned image of a name; some copies of the list name it so already."""
    if named.stem.endswith("_aligned"):
        return named
    return named.with_name(f"{named.stem}_aligned{named.suffix}")


def _numbered(path: Path) -> Path | None:
    """Return the folder with folders of numbers and files of RAF-DB's names, maybe inside."""
    return next((root for root in (path, path / _INSIDE) if _is_numbered(root)), None)


def _listed_codes(path: Path) -> dict[str, str]:
    """Return the numbers by image of the lists that copies have beside the folders."""
    lists = [path / name for name in _COPIED_LISTS if (path / name).is_file()]
    return {
        name: code for file in lists for _, (name, code) in csv_rows(file, columns=_COPIED_COLUMNS)
    }


def _is_numbered(path: Path) -> bool:
    if not path.is_dir():
        return False
    parts = [folder for folder in subfolders(path) if folder.name.casefold() in _SPLITS]
    folders = parts or [path]
    if not all({entry.name for entry in subfolders(folder)} <= _NUMBERS for folder in folders):
        return False
    files = [file for folder in folders for file in first_images(folder) if file.parent != folder]
    return bool(files) and all(_NAME.fullmatch(file.name) for file in files)


def _numbered_images(
    found: ImageFiles, codes: Mapping[str, str]
) -> Iterator[LabelledImage | LeftOut]:
    yield from found.left_out
    for file in found.files:
        name, match = file.relative_to(found.folder).as_posix(), _NAME.fullmatch(file.name)
        if match is None or file.parent.name not in _NUMBERS:
            yield LeftOut("not named as in RAF-DB", name)
        elif codes.get(file.name, file.parent.name) != file.parent.name:
            yield LeftOut("image with another number in the list than its folder", name)
        else:
            emotion, split = CODES[int(file.parent.name)], _SPLITS[match[1].lower()]
            yield LabelledImage(name=name, image=file, emotion=emotion, split=split)
