"""What every reader returns: faces by the labels that a model has, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from motivnet.datasets.sample import GreyPixels, Part, Sample
from motivnet.errors import DatasetError
from motivnet.files import is_below
from motivnet.labels import EMOTIONS
from motivnet.printable import shortened

_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The samples of a dataset, not yet opened, and the number of entries by the reason for which they are none."""

    samples: tuple[Sample, ...]
    skipped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One labelled image as its dataset has it, before a model's labels are known.

    ``votes`` counts by emotion the people who saw it, where several were asked, or tells their
    shares; ``emotion`` has the most of them.
    """

    name: str
    image: Path | GreyPixels
    emotion: str
    part: Part | None = None
    person: str | None = None
    votes: Mapping[str, float] | None = None


def listing_of(entries: Iterable[Face | str], *, labels: tuple[str, ...]) -> Listing:
    """The entries whose label the model has, in their order; an entry that is a text is the reason
    to leave one out.

    Of entries with the same name the first counts.
    """
    samples: dict[str, Sample] = {}
    skipped: Counter[str] = Counter()
    for entry in entries:
        if isinstance(entry, str):
            skipped[entry] += 1
        elif entry.emotion not in labels:
            skipped[f"the model has no class {entry.emotion}"] += 1
        elif entry.name not in samples:
            samples[entry.name] = _sample(entry, labels)
        elif samples[entry.name].label == labels.index(entry.emotion):
            skipped["listed twice"] += 1
        else:
            skipped["listed again with another label"] += 1
    return Listing(samples=tuple(samples.values()), skipped=dict(skipped))


def emotion_from_code(text: str, codes: Mapping[int, str], *, place: str) -> str:
    """The emotion that a dataset writes as a number, whole even where it is written ``3.0``.

    Args:
        place: Where the number stands, for the error.

    Raises:
        DatasetError: If it is no number of the dataset.
    """
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    emotion = codes.get(int(number)) if number.is_integer() else None
    if emotion is None:
        shown = text if len(text) <= 20 else f"{text[:20]}…"
        raise DatasetError(
            f"{place} has the label {shown!r}; it must be a whole number from {min(codes)} to {max(codes)}"
        )
    return emotion


def codes_from(emotions: Iterable[str], *, start: int = 0) -> dict[int, str]:
    """Emotions by the numbers that a dataset gives them in turn.

    Raises:
        ValueError: If one of them has another name in this project.
    """
    codes = dict(enumerate(emotions, start))
    if unknown := set(codes.values()) - set(EMOTIONS):
        raise ValueError(f"not emotions: {sorted(unknown)}")
    return codes


def visible(folder: Path) -> list[Path]:
    """What a folder holds in a fixed order, without hidden files such as ``.DS_Store``."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def refuse_outside(source: Path | str, files: Iterable[Path | str], *, folder: Path) -> None:
    """Returns when a list names no image outside its folder; a stranger's could name any file of
    this machine.

    Links in the folder are followed, as the user's own.

    Args:
        source: The list, for the error.

    Raises:
        DatasetError: Naming the first one that lies outside.
    """
    outside = next((file for file in files if not is_below(file, folder)), None)
    if outside is not None:
        raise DatasetError(
            f"{source} names an image outside its folder, {shortened(str(outside), _SHOWN)}; if you trust where it "
            "comes from, allow it with --allow-outside"
        )


def summary_of_skipped(skipped: Mapping[str, int]) -> str:
    """Counts and reasons in one line."""
    return ", ".join(f"{count} x {reason}" for reason, count in sorted(skipped.items()))


def _sample(face: Face, labels: tuple[str, ...]) -> Sample:
    return Sample(
        name=face.name,
        image=face.image,
        label=labels.index(face.emotion),
        distribution=None if face.votes is None else _distribution(face.votes, labels),
        part=face.part,
        person=face.person,
    )


def _distribution(votes: Mapping[str, float], labels: tuple[str, ...]) -> tuple[float, ...]:
    """The shares of the votes that are for a label; votes for other emotions do not count."""
    total = sum(votes.get(label, 0) for label in labels)
    return tuple(votes.get(label, 0) / total for label in labels)
