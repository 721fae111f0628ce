"""CK+: sequences from a neutral face to the peak of an emotion (Lucey et al. 2010).

Some are labelled, none as neutral: the first frames of the labelled sequences are the neutral
images, as in the literature.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from motivnet.datasets.image_folders import visible
from motivnet.datasets.listing import (
    LabelledImage,
    Listing,
    codes_from,
    collect,
    emotion_from_code,
)
from motivnet.errors import DatasetError
from motivnet.files import read_bytes
from motivnet.images import IMAGE_SUFFIXES

CODES = codes_from(
    ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
)

_IMAGES = "cohn-kanade-images"
_LABELS = "Emotion"
_MAX_BYTES = 4096


def recognises(path: Path) -> bool:
    """Return whether the folder of sequences is there."""
    return (path / _IMAGES).is_dir()


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return the first frame of each labelled sequence as neutral and the last as its label.

    Raises:
        DatasetError: If the labels are not there, or one of them is not a number from 0 to 7.
    """
    if not (path / _LABELS).is_dir():
        raise DatasetError(f"{path / _LABELS} is not a folder; unpack CK+'s emotion labels there")
    return collect(_images(path), labels=labels)


def _images(path: Path) -> Iterator[LabelledImage | str]:
    for sequence in _sequences(path):
        label = next(
            (
                file
                for file in _files(path / _LABELS / sequence)
                if file.name.endswith("_emotion.txt")
            ),
            None,
        )
        frames = [
            file
            for file in _files(path / _IMAGES / sequence)
            if file.suffix.casefold() in IMAGE_SUFFIXES
        ]
        if label is None:
            yield "sequence without a label"
        elif not frames:
            yield "labelled sequence without images"
        else:
            text = read_bytes(label, max_bytes=_MAX_BYTES).decode("ascii", "replace").strip()
            emotion = emotion_from_code(text, CODES, place=str(label))
            ends = (
                [(frames[-1], emotion)]
                if len(frames) == 1
                else [(frames[0], "neutral"), (frames[-1], emotion)]
            )
            for frame, shown in ends:
                name = frame.relative_to(path).as_posix()
                yield LabelledImage(name=name, image=frame, emotion=shown, person=sequence.parts[0])


def _sequences(path: Path) -> list[Path]:
    """Return the folders such as ``S005/001`` that images or labels have."""
    found = {
        sequence.relative_to(root)
        for root in (path / _IMAGES, path / _LABELS)
        for person in visible(root)
        if person.is_dir()
        for sequence in visible(person)
        if sequence.is_dir()
    }
    return sorted(found)


def _files(folder: Path) -> list[Path]:
    return visible(folder) if folder.is_dir() else []
