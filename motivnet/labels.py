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
