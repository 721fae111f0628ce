"""JAFFE: ten women in one folder of files such as ``KA.AN1.39.tiff`` (Lyons et al. 1998)."""

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
    "FE": "fear",
    "DI": "disgust",
    "AN": "anger",
}

_NAME = re.compile(rf"([A-Z]{{2}})\.({'|'.join(EMOTION_OF)})\d+\.\d+\.tiff?", re.IGNORECASE)


def recognises(path: Path) -> bool:
    """Return whether any file has a name as in JAFFE."""
    return path.is_dir() and any(_NAME.fullmatch(file.name) for file in path.iterdir())


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return the images with the person that each name identifies."""
    return collect(_images(path), labels=labels)


def _images(path: Path) -> Iterator[LabelledImage | str]:
    for file in visible(path):
        match = _NAME.fullmatch(file.name)
        if match is None:
            yield "not named as in JAFFE"
        else:
            person, code = match[1].upper(), match[2].upper()
            yield LabelledImage(name=file.name, image=file, emotion=EMOTION_OF[code], person=person)
