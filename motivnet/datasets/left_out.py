"""What was left out of a folder or a dataset, as the one line in which every command says it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from motivnet.printable import shortened

SHOWN = 3
"""Names are shown of each reason."""

_MAX_NAME = 160


class LeftOut(NamedTuple):
    """One entry that was left out: the reason in the singular, and its name if it has one."""

    reason: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """What was left out: the number of entries by reason, and the names of the first."""

    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        return describe(self.counts, self.names)

    def __or__(self, other: Tally) -> Tally:
        """Return both together."""
        counts = Counter(self.counts) + Counter(other.counts)
        return Tally(dict(counts), {**self.names, **other.names})


def tally(entries: Iterable[LeftOut]) -> Tally:
    """Return how many entries were left out by reason, and the first names of each."""
    counts: Counter[str] = Counter()
    names: defaultdict[str, list[str]] = defaultdict(list)
    for reason, name in entries:
        counts[reason] += 1
        if name and len(names[reason]) < SHOWN:
            names[reason].append(name)
    return Tally(dict(counts), {reason: tuple(found) for reason, found in names.items() if found})


def describe(counts: Mapping[str, int], names: Mapping[str, Sequence[str]]) -> str:
    """Return counts, reasons and up to three names of each in one line."""
    return ", ".join(
        f"{count:,} x {reason}{_in_brackets(names.get(reason, ()), count)}"
        for reason, count in sorted(counts.items())
    )


def name_some(paths: Sequence[Path | str]) -> str:
    """Return the first three of some names, and whether there are more."""
    shown = [shortened(str(path), _MAX_NAME) for path in paths[:SHOWN]]
    return ", ".join([*shown, "…"] if len(paths) > SHOWN else shown)


def _in_brackets(names: Sequence[str], count: int) -> str:
    if not names:
        return ""
    shown = [shortened(name, _MAX_NAME) for name in names[:SHOWN]]
    return f" ({', '.join([*shown, '…'] if count > len(shown) else shown)})"
