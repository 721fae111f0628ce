"""KDEF: 70 people from five angles, in files such as ``AF01/AF01ANFL.JPG`` (Lundqvist, Flykt & Öhman 1998)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from motivnet.datasets.listing import Face, Listing, listing_of, visible

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
    """Whether any file is named as KDEF's, or any folder as those in which they lie."""
    return path.is_dir() and any(
        _NAME.fullmatch(e.name) or _FOLDER.fullmatch(e.name) for e in path.iterdir()
    )


def listing(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """The images of every angle with the person that each name tells, who is the same in both sessions."""
    return listing_of(_faces(path), labels=labels)


def _faces(path: Path) -> Iterator[Face | str]:
    for file in _files(path):
        match = _NAME.fullmatch(file.name)
        if match is None:
            yield "not named as in KDEF"
        else:
            person, code = match[1].upper(), match[2].upper()
            yield Face(
                name=file.relative_to(path).as_posix(),
                image=file,
                emotion=EMOTION_OF[code],
                person=person,
            )


def _files(path: Path) -> Iterator[Path]:
    """The files of the folder and of the folders in it; KDEF has none deeper."""
    for entry in visible(path):
        yield from visible(entry) if entry.is_dir() else (entry,)
