"""CK+: sequences from a neutral face to the peak of an emotion (Lucey et al. 2010).

Some are labelled, none as neutral: the first frames of the labelled sequences are the neutral
images, as in the literature.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from motivnet.datasets.image_folders import visible
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
        labels = _files(path / _LABELS / sequence, end="_emotion.txt")
        frames = _files(path / _IMAGES / sequence, end=tuple(IMAGE_SUFFIXES))
        if not labels:
            yield "sequence without a label"
        elif not frames:
            yield "labelled sequence without images"
        else:
            text = read_bytes(labels[0], max_bytes=_MAX_BYTES).decode("ascii", "replace").strip()
            emotion = emotion_from_code(text, CODES, place=str(labels[0]))
            # A single frame has the label.
            for frame, shown in {frames[0]: "neutral", frames[-1]: emotion}.items():
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


def _files(folder: Path, *, end: str | tuple[str, ...]) -> list[Path]:
    files = visible(folder) if folder.is_dir() else []
    return [file for file in files if file.name.casefold().endswith(end)]
