from __future__ import annotations

from motivnet_bench.latency.schedule import turns


def test_every_second_round_runs_backwards() -> None:
    assert "".join(name for _, name in turns("abc", 3)) == "abccbaabc"
    assert [index for index, _ in turns("abc", 3)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_over_two_rounds_every_candidate_has_the_same_mean_place_in_time() -> None:
    order = [name for _, name in turns("abcd", 2)]
    places = {
        name: sum(place for place, each in enumerate(order) if each == name) for name in "abcd"
    }
    assert len(set(places.values())) == 1
