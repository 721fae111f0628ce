"""CK+: sequences from a neutral face to the peak of an emotion (Lucey et al. 2010).

Some are labelled, none as neutral: the first frames of the labelled sequences are the neutral
images, as in the literature.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from motivnet.datasets.image_folders import visible
from motivnet.datasets.left_out import LeftOut
from motivnet.datasets.listing import LabelledImage, Listing, collect, emotion_from_code
from motivnet.errors import DatasetError
from motivnet.files import read_bytes
from motivnet.images import IMAGE_SUFFIXES

CODES = dict(
    enumerate(
        ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
    )
)

_IMAGES = "cohn-kanade-images"
_LABELS = "Emotion"
_ARCHIVES = {_IMAGES: "extended-cohn-kanade-images", _LABELS: "Emotion_labels"}
_MAX_BYTES = 4096


def recognises(path: Path) -> bool:
    """Return whether the folder of sequences is there."""
    return _unpacked(path, _IMAGES).is_dir()


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return the first frame of each labelled sequence as neutral and the last as its label.

    Raises:
        DatasetError: If the labels are not there, or one of them is not a number from 0 to 7.
    """
    labels_folder = _unpacked(path, _LABELS)
    if not labels_folder.is_dir():
        raise DatasetError(f"{labels_folder} is not a folder; unpack CK+'s emotion labels there")
    return collect(_images(path), labels=labels)


def _unpacked(path: Path, name: str) -> Path:
    """Return one of the folders, which may be in a folder named as its archive."""
    inside = path / _ARCHIVES[name] / name
    return inside if inside.is_dir() else path / name


def _images(path: Path) -> Iterator[LabelledImage | LeftOut]:
    images_folder, labels_folder = _unpacked(path, _IMAGES), _unpacked(path, _LABELS)
    for sequence in _sequences(images_folder, labels_folder):
        labels = _files(labels_folder / sequence, end="_emotion.txt")
        frames = _files(images_folder / sequence, end=tuple(IMAGE_SUFFIXES))
        if not labels:
            yield LeftOut("sequence without a label", str(sequence))
        elif not frames:
            yield LeftOut("labelled sequence without images", str(sequence))
        else:
            text = read_bytes(labels[0], max_bytes=_MAX_BYTES).decode("ascii", "replace").strip()
            emotion = emotion_from_code(text, CODES, place=str(labels[0]))
            # A single frame has the label.
            for frame, shown in {frames[0]: "neutral", frames[-1]: emotion}.items():
                name = frame.relative_to(path).as_posix()
                yield LabelledImage(name=name, image=frame, emotion=shown, person=sequence.parts[0])


def _sequences(*roots: Path) -> list[Path]:
    """Return the folders such as ``S005/001`` that images or labels have."""
    found = {
        sequence.relative_to(root)
        for root in roots
        for person in visible(root)
        if person.is_dir()
        for sequence in visible(person)
        if sequence.is_dir()
    }
    return sorted(found)


def _files(folder: Path, *, end: str | tuple[str, ...]) -> list[Path]:
    files = visible(folder) if folder.is_dir() else []
    return [file for file in files if file.name.casefold().endswith(end)]
