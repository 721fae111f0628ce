from __future__ import annotations

from motivnet.datasets.streams import Use, stream


def test_no_two_uses_of_a_seed_share_their_numbers() -> None:
    numbers = [stream(5, use, *label).random() for use in Use for label in ((), (1,), (2,))]
    assert len(set(numbers)) == len(numbers)
    assert stream(5, Use.SHEET, 1).random() == stream(5, Use.SHEET, 1).random()
    assert stream(5, Use.SHEET, 1).random() != stream(6, Use.SHEET, 1).random()
