"""KDEF: 70 people from five angles (Lundqvist, Flykt & Öhman 1998).

The files have names such as ``AF01/AF01ANFL.JPG``; a person is the same in both sessions.
"""

from __future__ import annotations

import re

from motivnet.datasets.named_files import NamedFiles

EMOTION_OF = {
    "NE": "neutral",
    "HA": "happiness",
    "SA": "sadness",
    "SU": "surprise",
    "AF": "fear",
    "DI": "disgust",
    "AN": "anger",
}

_FILES = NamedFiles(
    dataset="KDEF",
    # Session, then gender and number of the person, emotion, and angle: straight, half or full
    # profile, left or right.
    pattern=re.compile(
        rf"[AB](?P<person>[FM]\d\d)(?P<emotion>{'|'.join(EMOTION_OF)})(?:S|[HF][LR])\.[A-Z]+",
        re.IGNORECASE,
    ),
    emotions=EMOTION_OF,
)

recognises, read = _FILES.recognises, _FILES.read
