"""KDEF: 70 people from five angles (Lundqvist, Flykt & Öhman 1998).

The files have names such as ``AF01/AF01ANFL.JPG``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from motivnet.datasets.image_folders import visible
from motivnet.datasets.listing import LabelledImage, Listing, collect

EMOTION_OF = {
    "NE": "neutral",
    "HA": "happiness",
    "SA": "sadness",
    "SU": "surprise",
    "AF": "fear",
    "DI": "disgust",
    "AN": "anger",
}

# Session, then gender and number of the person, emotion, and angle: straight, half or full profile,
# left or right.
_NAME = re.compile(rf"[AB]([FM]\d\d)({'|'.join(EMOTION_OF)})(?:S|[HF][LR])\.jpe?g", re.IGNORECASE)
_FOLDER = re.compile(r"[AB][FM]\d\d", re.IGNORECASE)


def recognises(path: Path) -> bool:
    """Return whether any file, or any folder of files, has a name as in KDEF."""
    return path.is_dir() and any(
        _NAME.fullmatch(e.name) or _FOLDER.fullmatch(e.name) for e in path.iterdir()
    )


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return the images of every angle with the person, who is the same in both sessions."""
    return collect(_images(path), labels=labels)


def _images(path: Path) -> Iterator[LabelledImage | str]:
    for file in _files(path):
        match = _NAME.fullmatch(file.name)
        if match is None:
            yield "not named as in KDEF"
        else:
            person, code = match[1].upper(), match[2].upper()
            yield LabelledImage(
                name=file.relative_to(path).as_posix(),
                image=file,
                emotion=EMOTION_OF[code],
                person=person,
            )


def _files(path: Path) -> Iterator[Path]:
    """Iterate over the files of the folder and of the folders in it; KDEF is not deeper."""
    for entry in visible(path):
        yield from visible(entry) if entry.is_dir() else (entry,)
