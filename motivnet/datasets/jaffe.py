"""JAFFE: ten women in files such as ``KA.AN1.39.tiff`` (Lyons et al. 1998)."""

from __future__ import annotations

import re

from motivnet.datasets.named_files import NamedFiles

EMOTION_OF = {
    "NE": "neutral",
    "HA": "happiness",
    "SA": "sadness",
    "SU": "surprise",
    "FE": "fear",
    "DI": "disgust",
    "AN": "anger",
}

_FILES = NamedFiles(
    dataset="JAFFE",
    # The person, the emotion with the number of the take, and a serial number.
    pattern=re.compile(
        rf"(?P<person>[A-Z]{{2}})\.(?P<emotion>{'|'.join(EMOTION_OF)})\d+\.\d+\.[A-Z]+",
        re.IGNORECASE,
    ),
    emotions=EMOTION_OF,
)

recognises, read = _FILES.recognises, _FILES.read
