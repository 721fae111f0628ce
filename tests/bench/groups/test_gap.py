"""A planted bias is found, and where there is none chance is not taken for one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from motivnet_bench.groups import gap
from motivnet_bench.groups.gap import accuracy_interval, images_for_half_width, worst_gap

SEEDS = 20


@pytest.fixture(autouse=True)
def fewer_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gap, "PERMUTATIONS", 500)


def answers(seed: int, *, drop: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """900 answers for three groups, one of which gets ``drop`` less of them right."""
    random = np.random.default_rng(seed)
    groups = random.choice(["a", "b", "c"], 900, p=[0.4, 0.4, 0.2])
    classes = random.integers(0, 7, 900)
    chance = 0.85 - 0.05 * (classes == 4) - drop * (groups == "c")
    return random.random(900) < chance, groups, classes


def test_a_planted_bias_is_found_in_each_of_20_data_sets() -> None:
    found = [worst_gap(*answers(seed, drop=0.2), seed=seed) for seed in range(SEEDS)]
    assert all(each is not None and each.found and each.worst == "c" for each in found)


def test_chance_is_not_taken_for_a_bias() -> None:
    """One of 20 is expected at a level of 5 %; four or more happen in one of 60 such tests."""
    found = [worst_gap(*answers(seed, drop=0.0), seed=seed) for seed in range(SEEDS)]
    assert sum(each is not None and each.found for each in found) <= 3


def test_harder_classes_are_no_bias() -> None:
    """A group with more images of a class that is hard for everybody."""
    random = np.random.default_rng(0)
    groups = np.repeat(["a", "b"], 400)
    hard = random.random(800) < np.where(groups == "a", 0.1, 0.6)
    right = random.random(800) < np.where(hard, 0.4, 0.95)
    of_classes = worst_gap(right, groups, hard.astype(np.int64))
    of_images = worst_gap(right, groups, np.zeros(800, np.int64))
    assert of_classes is not None
    assert of_images is not None
    assert of_classes.points > 15
    assert not of_classes.found
    assert of_images.found


def test_the_test_of_two_groups_is_fishers() -> None:
    """For two groups and one class, exchanging names is Fisher's exact test."""
    right = np.concatenate([np.arange(40) < 30, np.arange(40) < 22])
    groups = np.repeat(["a", "b"], 40)
    gap.PERMUTATIONS = 20_000  # put back by the fixture
    found = worst_gap(right, groups, np.zeros(80, np.int64))
    expected = stats.fisher_exact([[30, 10], [22, 18]]).pvalue
    assert found is not None
    assert found.p == pytest.approx(expected, abs=0.015)
    assert found.points == pytest.approx(20)


def test_the_interval_of_an_accuracy_is_wilsons() -> None:
    expected = stats.binomtest(17, 20).proportion_ci(method="wilson")
    assert accuracy_interval(17, 20) == pytest.approx((100 * expected.low, 100 * expected.high))
    assert accuracy_interval(20, 20)[1] == pytest.approx(100)


def test_the_images_that_would_do_do() -> None:
    images = images_for_half_width(80, 100)
    low, high = accuracy_interval(round(0.8 * images), images)
    assert (high - low) / 2 == pytest.approx(5, abs=0.2)


def test_a_small_group_is_not_compared() -> None:
    right, groups, classes = answers(0, drop=0.0)
    groups = groups.astype("<U8")
    groups[:9], right[:9] = "few", False
    found = worst_gap(right, groups, classes)
    assert found is not None
    assert "few" not in (found.best, found.worst)
    assert worst_gap(right[:9], groups[:9], classes[:9]) is None


def of_people(seed: int, *, drop: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """600 answers: ten images of each of 60 people, some of whom the model knows much better."""
    random = np.random.default_rng(seed)
    groups = np.repeat(random.permutation(np.repeat(["a", "b"], 30)), 10)
    skill = np.repeat(random.beta(3, 1.5, 60), 10) - drop * (groups == "b")
    people = [str(person) for person in np.repeat(np.arange(60), 10)]
    return random.random(600) < skill, groups, np.tile(np.arange(5), 120), people


def test_images_of_one_person_do_not_make_a_bias() -> None:
    """By image, chance is taken for a bias in most such data sets; by person, in one of 20."""
    by_person = [worst_gap(*of_people(seed, drop=0.0), seed=seed) for seed in range(SEEDS)]
    by_image = [worst_gap(*of_people(seed, drop=0.0)[:3], seed=seed) for seed in range(SEEDS)]
    assert sum(each is not None and each.found for each in by_person) <= 3
    assert sum(each is not None and each.found for each in by_image) >= 5


def test_a_planted_bias_is_found_among_people() -> None:
    found = [worst_gap(*of_people(seed, drop=0.3), seed=seed) for seed in range(SEEDS)]
    assert all(each is not None and each.found and each.worst == "b" for each in found)
    assert sum(each is not None and each.low <= 30 <= each.high for each in found) >= 17


def test_the_test_is_that_of_every_permutation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three groups and two classes, few enough to write out each way of naming the groups."""
    monkeypatch.setattr(gap, "MIN_IMAGES", 1)
    gap.PERMUTATIONS = 20_000  # put back by the fixture
    right = np.array([1, 1, 0, 1, 0, 0, 1, 1, 0, 1], bool)
    groups = np.array(["a", "a", "b", "b", "c", "c", "a", "a", "b", "c"])
    classes = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1])

    def farthest(names: np.ndarray) -> float:
        means = [right[names == name].mean() for name in "abc"]
        return max(means) - min(means)

    ways = [
        farthest(np.concatenate([first, second]))
        for first in itertools.permutations(groups[:6])
        for second in itertools.permutations(groups[6:])
    ]
    expected = np.mean(np.array(ways) >= farthest(groups) - 1e-12)
    found = worst_gap(right, groups, classes)
    assert found is not None
    assert 0.02 < expected < 0.98
    assert found.p == pytest.approx(expected, abs=0.01)


def test_the_interval_is_scipys_bootstrap() -> None:
    """Of images, and of people with two images each."""
    random = np.random.default_rng(1)
    best, worst = random.random((200, 2)) < 0.9, random.random((150, 2)) < 0.6
    for columns in (1, 2):
        first, second = best[:, :columns], worst[:, :columns]
        right = np.concatenate([first.ravel(), second.ravel()])
        groups = np.repeat(["a", "b"], [first.size, second.size])
        people = [str(person) for person in np.repeat(np.arange(350), columns)]
        found = worst_gap(right, groups, np.zeros(len(right), np.int64), people)
        expected = stats.bootstrap(
            (first.mean(axis=1), second.mean(axis=1)),
            lambda x, y, axis: 100 * (x.mean(axis=axis) - y.mean(axis=axis)),
            vectorized=True,
            method="percentile",
            rng=0,
        ).confidence_interval
        assert found is not None
        # Two answers more than were seen move the ends by less than a point.
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1)


def test_who_is_like_nobody_else_is_not_exchanged() -> None:
    right = np.ones(24, bool)
    groups = np.repeat(["a", "b"], 12)
    people = [*np.repeat(["1", "2", "3"], 4), *np.repeat(["4", "5", "6"], 4)]
    classes = np.tile([0, 0, 1, 1], 6)
    classes[:4] = 0  # only this person has images of one class alone
    found = worst_gap(right, groups, classes, people)
    assert found is not None
    assert found.exchanged == pytest.approx(5 / 6)
