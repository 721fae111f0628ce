"""The threshold of a cascade: its bound, by arithmetic and on many samples of a known risk."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from motivnet.errors import DatasetError
from motivnet_engines.calibration.changed_answers import (
    allowed_changes,
    check_enough_images,
    choose_threshold,
    needed_images,
)

Generator = np.random.Generator
Sampler = Callable[[Generator, int], tuple[NDArray[np.float64], NDArray[np.bool_]]]


def at_most(changes: int, images: int, share: Fraction) -> Fraction:
    """The exact probability of so many changes or fewer."""
    return sum(
        (
            math.comb(images, count) * share**count * (1 - share) ** (images - count)
            for count in range(changes + 1)
        ),
        start=Fraction(0),
    )


@pytest.mark.parametrize(("percent", "needed"), [(1, 299), (2, 149), (5, 59), (10, 29), (50, 5)])
def test_the_number_of_images_that_would_do_is_said(percent: int, needed: int) -> None:
    share = percent / 100
    assert needed_images(share) == needed
    check_enough_images(needed, max_changed=share)
    with pytest.raises(DatasetError, match=f"takes {needed} images or more; give more, or raise"):
        check_enough_images(needed - 1, max_changed=share)


@pytest.mark.parametrize("images", [149, 235, 236, 400, 1000])
@pytest.mark.parametrize("percent", [2, 5])
def test_the_allowed_changes_are_those_of_the_exact_binomial(images: int, percent: int) -> None:
    allowed = allowed_changes(images, max_changed=percent / 100)
    share, level = Fraction(percent, 100), Fraction(5, 100)
    assert at_most(allowed, images, share) <= level < at_most(allowed + 1, images, share)


def test_the_lowest_threshold_above_one_change_too_many_is_chosen() -> None:
    confidence = np.linspace(1.0, 0.0, 400)
    changed = np.zeros(400, np.bool_)
    assert allowed_changes(400, max_changed=0.02) == 3
    changed[[10, 50, 51, 200, 300]] = True
    chosen = choose_threshold(confidence, changed, max_changed=0.02)
    assert (chosen.threshold, chosen.by_student, chosen.changed) == (confidence[199], 200, 3)


def test_images_of_one_confidence_are_answered_together_or_not_at_all() -> None:
    confidence = np.repeat([0.9, 0.7], [100, 300])
    changed = np.zeros(400, np.bool_)
    changed[[0, 100, 101, 102]] = True
    chosen = choose_threshold(confidence, changed, max_changed=0.02)
    assert (chosen.threshold, chosen.by_student, chosen.changed) == (0.9, 100, 1)


def test_without_changes_the_student_answers_all_but_the_unknown() -> None:
    confidence = np.full(200, 0.3)
    confidence[:50] = -np.inf
    changed = np.zeros(200, np.bool_)
    changed[:50] = True  # the full model is asked, so they are not
    chosen = choose_threshold(confidence, changed, max_changed=0.02)
    assert (chosen.threshold, chosen.by_student, chosen.changed) == (0.0, 150, 0)


@pytest.mark.parametrize("unknown", [0, 400])
def test_a_student_that_may_answer_nothing_is_refused(unknown: int) -> None:
    confidence = np.linspace(1.0, 0.5, 400)
    confidence[:10] = 1.0
    confidence[:unknown] = -np.inf
    changed = np.arange(400) < 10
    with pytest.raises(DatasetError, match=r"no threshold keeps the changed answers at 2.00%"):
        choose_threshold(confidence, changed, max_changed=0.02)


def falling(generator: Generator, images: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Changed with a probability of ``0.2 (1 - confidence)``: the risk is ``(1 - t)^2 / 10``."""
    confidence = generator.random(images)
    return confidence, generator.random(images) < 0.2 * (1 - confidence)


def in_steps(generator: Generator, images: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The same, at ten confidences, so that many images share one."""
    confidence = np.floor(generator.random(images) * 10) / 10
    return confidence, generator.random(images) < 0.2 * (1 - confidence)


def flat(generator: Generator, images: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A confidence that says nothing, and a risk of all answers that is just above the bound."""
    return generator.random(images), generator.random(images) < 0.0201


def risk_of_falling(threshold: float) -> float:
    return (1 - threshold) ** 2 / 10


def risk_in_steps(threshold: float) -> float:
    return sum(0.02 * (1 - step / 10) for step in range(10) if step / 10 >= threshold)


def risk_of_flat(threshold: float) -> float:
    return 0.0201 * (1 - threshold)


@pytest.mark.parametrize("images", [149, 236, 400])
@pytest.mark.parametrize(
    ("sample", "risk"),
    [(falling, risk_of_falling), (in_steps, risk_in_steps), (flat, risk_of_flat)],
)
def test_the_bound_fails_in_at_most_5_percent_of_samples(
    sample: Sampler, risk: Callable[[float], float], images: int
) -> None:
    """With 149 and 236 images the exact test is at its level: one change more fails the test."""
    generator, samples, failures = np.random.default_rng(0), 4000, 0
    for _ in range(samples):
        try:
            chosen = choose_threshold(*sample(generator, images), max_changed=0.02)
        except DatasetError:  # nothing is answered by the student, and nothing changed
            continue
        failures += risk(chosen.threshold) > 0.02
    # Three standard errors above 5 %.
    assert failures / samples <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / samples)
