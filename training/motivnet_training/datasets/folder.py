"""Labelled images from a folder with one folder per class."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from motivnet.errors import DatasetError, FileError, ImageError
from motivnet.images import read_image
from motivnet.labels import EMOTIONS
from motivnet.progress import progress

logger = logging.getLogger(__name__)

_ALIASES = {
    "happiness": ("happy", "happily"),
    "sadness": ("sad",),
    "surprise": ("surprised",),
    "fear": ("fearful", "afraid"),
    "disgust": ("disgusted",),
    "anger": ("angry",),
    "contempt": ("contemptuous",),
}
_EMOTION_OF = {alias: emotion for emotion, aliases in _ALIASES.items() for alias in aliases} | {e: e for e in EMOTIONS}
Sample = tuple[Path, int]
"""An image file and the index of its label."""

_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """Image files with the index of their label, in a fixed order, and what was left out.

    ``skipped`` counts the files that were left out by reason; ``unreadable`` has the reason of each that should have
    been an image.
    """

    samples: tuple[Sample, ...]
    skipped: dict[str, int] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)


def read_folder(path: Path | str, *, labels: tuple[str, ...], limit: int | None = None) -> LabelledImages:
    """The images in a folder's class folders, each decoded once to know that it can be read.

    A class folder is called as a label or as it is in a common dataset (``happy``, ``angry`` …), in any case.

    Args:
        labels: The model's, in output order.
        limit: Images a class at most, the first in order of path; the others are not even opened.

    Raises:
        DatasetError: If the folder is missing or holds no readable image of any label.
    """
    path = Path(path)
    if not path.is_dir():
        raise DatasetError(f"{path} is not a folder; give a folder with one folder of images per class")
    candidates, skipped = _candidates(path, labels)
    samples, unreadable = _readable(_limited(candidates, limit))
    if unreadable:
        skipped["unreadable image"] = len(unreadable)
    if not samples:
        found = f" ({_summary(skipped)})" if skipped else ""
        raise DatasetError(f"{path} holds no image of a known class{found}; expected folders such as {labels[0]}/")
    if skipped:
        logger.warning("%s: skipped %s", path, _summary(skipped))
    return LabelledImages(samples=tuple(samples), skipped=dict(skipped), unreadable=unreadable)


def _candidates(path: Path, labels: tuple[str, ...]) -> tuple[list[Sample], Counter[str]]:
    samples: list[Sample] = []
    skipped: Counter[str] = Counter()
    for entry in _visible(path):
        if not entry.is_dir():
            skipped["not in a class folder"] += 1
            continue
        label = _EMOTION_OF.get(entry.name.casefold(), entry.name)
        for file in _visible(entry):
            if label not in labels:
                known = label in EMOTIONS
                skipped[f"the model has no class {label}" if known else f"unknown class folder {entry.name}"] += 1
            elif file.suffix.casefold() not in _SUFFIXES:
                skipped["not an image file"] += 1
            else:
                samples.append((file, labels.index(label)))
    return samples, skipped


def _limited(samples: list[Sample], limit: int | None) -> list[Sample]:
    seen: Counter[int] = Counter()
    kept = []
    for file, label in samples:
        seen[label] += 1
        if limit is None or seen[label] <= limit:
            kept.append((file, label))
    return kept


def _readable(samples: list[Sample]) -> tuple[list[Sample], dict[Path, str]]:
    readable, unreadable = [], {}
    with progress("checking images", total=len(samples)) as advance:
        for file, label in samples:
            try:
                read_image(file)
            except (ImageError, FileError) as error:
                unreadable[file] = str(error)
            else:
                readable.append((file, label))
            advance(1)
    return readable, unreadable


def _visible(folder: Path) -> list[Path]:
    """What a folder holds in a fixed order, without hidden files such as ``.DS_Store``."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _summary(skipped: Counter[str]) -> str:
    return ", ".join(f"{count} x {reason}" for reason, count in sorted(skipped.items()))
