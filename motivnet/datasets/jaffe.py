"""JAFFE: ten women in one folder of files such as ``KA.AN1.39.tiff`` (Lyons et al. 1998)."""

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
    "FE": "fear",
    "DI": "disgust",
    "AN": "anger",
}

_NAME = re.compile(rf"([A-Z]{{2}})\.({'|'.join(EMOTION_OF)})\d+\.\d+\.tiff?", re.IGNORECASE)


def recognises(path: Path) -> bool:
    """Whether any file is named as JAFFE's."""
    return path.is_dir() and any(_NAME.fullmatch(file.name) for file in path.iterdir())


def listing(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """The images with the person that each name tells."""
    return listing_of(_faces(path), labels=labels)


def _faces(path: Path) -> Iterator[Face | str]:
    for file in visible(path):
        match = _NAME.fullmatch(file.name)
        if match is None:
            yield "not named as in JAFFE"
        else:
            person, code = match[1].upper(), match[2].upper()
            yield Face(name=file.name, image=file, emotion=EMOTION_OF[code], person=person)
