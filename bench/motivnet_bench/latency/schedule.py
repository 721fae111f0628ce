"""In which order the candidates take their turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def turns(candidates: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
    """Every candidate once a round, as (round, candidate); every second round runs backwards.

    There and back (A B C, C B A, …) gives every candidate the same mean place in time over two
    rounds, so that a processor that heats up or slows down steadily favours none.
    """
    for index in range(rounds):
        for candidate in candidates if index % 2 == 0 else reversed(candidates):
            yield index, candidate
