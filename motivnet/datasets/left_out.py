"""What was left out of a folder or a dataset, as the one line in which every command says it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from motivnet.printable import printable

SHOWN = 3
"""Names are shown of each reason."""

_MAX_NAME = 320
"""Of characters, also where what is wrong follows the name."""


class LeftOut(NamedTuple):
    """One entry that was left out: the reason in the singular, and its name if it has one."""

    reason: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """What was left out: the number of entries by reason, and the names of the first.

    There is one name more than is shown if there are more. ``hidden`` counts what is hidden or of
    the system, which is said only beside something else.
    """

    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    hidden: int = 0

    def __str__(self) -> str:
        parts = [
            f"{count:,} x {printable(reason)}{_in_brackets(self.names.get(reason, ()))}"
            for reason, count in sorted(self.counts.items())
        ]
        if parts and self.hidden:
            parts.append(f"{self.hidden:,} x hidden or of the system")
        return ", ".join(parts)

    def __or__(self, other: Tally) -> Tally:
        """Return both together."""
        counts = Counter(self.counts) + Counter(other.counts)
        names = {
            reason: (*self.names.get(reason, ()), *other.names.get(reason, ()))[: SHOWN + 1]
            for reason in (*self.names, *other.names)
        }
        return Tally(dict(counts), names, self.hidden + other.hidden)


def tally(entries: Iterable[LeftOut], *, hidden: int = 0) -> Tally:
    """Return how many entries were left out by reason, and the first names of each."""
    counts: Counter[str] = Counter()
    names: defaultdict[str, list[str]] = defaultdict(list)
    for reason, name in entries:
        counts[reason] += 1
        if name and len(names[reason]) <= SHOWN:
            names[reason].append(name)
    found = {reason: tuple(named) for reason, named in names.items() if named}
    return Tally(dict(counts), found, hidden)


def name_some(paths: Sequence[Path | str]) -> str:
    """Return the first three of some names, and whether there are more."""
    shown = [printable(str(path), limit=_MAX_NAME) for path in paths[:SHOWN]]
    return ", ".join([*shown, "…"] if len(paths) > SHOWN else shown)


def _in_brackets(names: Sequence[str]) -> str:
    return f" ({name_some(names)})" if names else ""
