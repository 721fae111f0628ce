"""The emotions in the order of MotivNet's outputs."""

from __future__ import annotations

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


def is_label(text: str) -> bool:
    """Whether a text can name a class: it is drawn on pictures, and stands in tables and on the service's page."""
    return text.isprintable() and len(text.strip()) > 0 and len(text) <= MAX_LABEL


def labels_for(num_classes: int) -> tuple[str, ...]:
    """Labels in output order: the emotions for 7 or 8 classes, ``class_0`` … for any other number.

    Raises:
        ConfigError: If there is not one class, or there are more than any model has.
    """
    if num_classes < 1:
        raise ConfigError(f"a model has at least one class, not {num_classes}")
    if num_classes > MAX_CLASSES:
        raise ConfigError(f"a model has at most {MAX_CLASSES:,} classes, not {num_classes}")
    if num_classes in (7, 8):
        return EMOTIONS[:num_classes]
    return tuple(f"class_{index}" for index in range(num_classes))
