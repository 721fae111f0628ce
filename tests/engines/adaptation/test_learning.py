"""New classes and new people of old ones, on made-up outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from motivnet.errors import DatasetError
from motivnet_engines.adaptation.learning import learn_classes
from motivnet_engines.calibration.fitting import calibration_error
from motivnet_engines.calibration.labelled_outputs import LabelledOutputs
from motivnet_engines.inference.heads import MixtureHead

NAMES = ("calm", "cheer", "doubt", "grief", "shock", "scorn", "pride", "shame")


def learn(outputs: LabelledOutputs, *, before: MixtureHead | None = None) -> MixtureHead:
    return learn_classes(outputs, before=before)[0]


def accuracy(head: MixtureHead, outputs: LabelledOutputs) -> float:
    logits = outputs.logits.astype(np.float32)
    best = head.probabilities(logits, outputs.embedding).argmax(axis=1)
    own = [head.labels.index(outputs.labels[place]) for place in outputs.classes]
    return float((best == own).mean())


def test_twenty_images_of_each_class_are_enough(outputs_of) -> None:
    head = learn(outputs_of(NAMES, 20))
    assert head.labels == NAMES
    assert accuracy(head, outputs_of(NAMES, 100, seed=1)) > 0.97


def test_adding_a_class_leaves_every_old_mixture_as_it_was(outputs_of) -> None:
    before = learn(outputs_of(NAMES[:4], 20))
    after = learn(outputs_of(NAMES[4:6], 5), before=before)
    assert after.labels == NAMES[:6]
    assert after.mixtures[:4] == before.mixtures
    assert after.whitening is before.whitening
    assert accuracy(after, outputs_of(NAMES[:6], 100, seed=1)) > 0.95


def test_classes_two_at_a_time_come_close_to_all_at_once(outputs_of) -> None:
    held_out = outputs_of(NAMES, 200, seed=9)
    head = None
    for start in range(0, len(NAMES), 2):
        head = learn(outputs_of(NAMES[start : start + 2], 20, seed=start), before=head)
    assert head is not None
    assert accuracy(head, held_out) >= accuracy(learn(outputs_of(NAMES, 20)), held_out) - 0.03


def test_new_people_of_an_old_class_are_learnt_and_the_old_ones_kept(outputs_of) -> None:
    """The strangers' calm looks like what nobody showed before."""
    before = learn(outputs_of(NAMES[:4], 40))
    first, others = (replace(outputs_of(NAMES[4:6], n, seed=n), labels=NAMES[:2]) for n in (20, 60))
    after = learn(first, before=before)
    assert [mixture.images for mixture in after.mixtures] == [60, 60, 40, 40]
    assert accuracy(before, others) < 0.8
    assert accuracy(after, others) > 0.95
    assert accuracy(after, outputs_of(NAMES[:4], 60, seed=4)) > 0.95


def test_probabilities_are_as_sure_as_they_are_right(outputs_of) -> None:
    head, held_out = (
        learn(outputs_of(NAMES, 40, spread=1.0)),
        outputs_of(NAMES, 200, seed=1, spread=1.0),
    )
    found = head.probabilities(held_out.logits.astype(np.float32), held_out.embedding)
    assert calibration_error(found, held_out.classes) < 0.05


def test_probabilities_are_at_the_temperature(outputs_of) -> None:
    head, outputs = (
        learn(outputs_of(NAMES, 12, spread=1.2)),
        outputs_of(NAMES, 20, seed=1, spread=1.2),
    )
    warm, plain = (
        replace(head, temperature=temperature).probabilities(
            outputs.logits.astype(np.float32), outputs.embedding
        )
        for temperature in (3.0, 1.0)
    )
    expected = np.cbrt(plain)
    np.testing.assert_allclose(warm, expected / expected.sum(axis=1, keepdims=True), rtol=1e-9)


def test_probabilities_are_the_same_in_any_batch(outputs_of) -> None:
    head, outputs = learn(outputs_of(NAMES, 10)), outputs_of(NAMES, 8, seed=1)
    logits = outputs.logits.astype(np.float32)
    together = head.probabilities(logits, outputs.embedding)
    alone = [
        head.probabilities(logits[i : i + 1], outputs.embedding[i : i + 1])[0]
        for i in range(len(logits))
    ]
    assert (together == np.stack(alone)).all()


@pytest.mark.parametrize(
    ("names", "count", "message"),
    [
        (NAMES[:3], 2, "the class calm has 2 images; give at least 5"),
        (
            NAMES[:1],
            20,
            "calm alone is nothing to choose between; give two classes or more, or --adapted",
        ),
    ],
)
def test_too_little_is_refused(
    names: tuple[str, ...], count: int, message: str, outputs_of
) -> None:
    with pytest.raises(DatasetError, match=message):
        learn(outputs_of(names, count))


def test_densities_are_of_images_that_had_no_part_in_them(outputs_of) -> None:
    """Labels drawn at random cannot be told: whoever does so has learnt the images by heart."""
    outputs = outputs_of(NAMES[:2], 40, spread=1.0)
    shuffled = replace(outputs, classes=np.random.default_rng(0).permutation(outputs.classes))
    head, densities = learn_classes(shuffled)
    assert (densities.argmax(axis=1) == shuffled.classes).mean() < 0.65
    assert accuracy(head, shuffled) > 0.8


@pytest.mark.parametrize("count", [3, 4, 5])
def test_classes_of_three_to_five_images_are_learnt(count: int, outputs_of) -> None:
    outputs = outputs_of(NAMES[:2], count)
    assert accuracy(learn(outputs), outputs) > 0.5
