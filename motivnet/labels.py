"""The emotions in the order of MotivNet's outputs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from motivnet.errors import ConfigError

EMOTIONS: tuple[str, ...] = (
    "neutral",
    "happiness",
    "sadness",
    "surprise",
    "fear",
    "disgust",
    "anger",
    "contempt",
)
"""AffectNet's eight labels in its own order; the published MotivNet has the first seven."""

MAX_CLASSES = 65_536
MAX_LABEL = 100
"""Characters."""

_ALIASES = {
    "happiness": ("happy", "happily", "joy", "joyful"),
    "sadness": ("sad",),
    "surprise": ("surprised", "suprise", "suprised"),
    "fear": ("fearful", "afraid", "scared"),
    "disgust": ("disgusted",),
    "anger": ("angry",),
    "contempt": ("contemptuous",),
}
"""What datasets call an emotion; two of them misspell one."""

_EMOTION_OF = {alias: emotion for emotion, aliases in _ALIASES.items() for alias in aliases} | {
    emotion: emotion for emotion in EMOTIONS
}
_NUMBER = re.compile(r"\d+[\s_.-]+(?=\D)")


def is_label(text: str) -> bool:
    """Return whether a text can name a class, in pictures, tables and on the service's page."""
    return text.isprintable() and text.strip() != "" and len(text) <= MAX_LABEL


def labels_for(num_classes: int) -> tuple[str, ...]:
    """Return labels in output order: emotions for 7 or 8 classes, else ``class_0`` and so on.

    Raises:
        ConfigError: If the number of classes is not one that a model can have.
    """
    if not 1 <= num_classes <= MAX_CLASSES:
        raise ConfigError(f"a model has 1 to {MAX_CLASSES:,} classes, not {num_classes:,}")
    if num_classes in (7, 8):
        return EMOTIONS[:num_classes]
    return tuple(f"class_{index}" for index in range(num_classes))


def label_from_name(name: str, labels: Sequence[str] = ()) -> str | None:
    """Return the label that the name of a folder means, in any case, or None.

    A name is one of the model's labels, an emotion, or what a common dataset calls an emotion
    (``happy``, ``angry``); a number may stand before it (``7_contempt``). The emotion need not be
    one of the labels.
    """
    name = name.strip().casefold()
    named = _EMOTION_OF | {label.casefold(): label for label in labels}
    number = _NUMBER.match(name)
    return named.get(name, named.get(name[number.end() :]) if number else None)
