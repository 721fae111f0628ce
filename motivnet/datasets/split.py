"""Parts to train on, to validate on and to test on, of readable images that share neither people nor pictures."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from motivnet.datasets.check import (
    MAX_UNREADABLE,
    UNREADABLE,
    Checked,
    readable,
    refuse_many_unreadable,
)
from motivnet.datasets.draw import PerClass, drawn_from, number_to_draw, queues_from, topped_up
from motivnet.datasets.duplicates import Pairs, duplicates_between
from motivnet.datasets.holdout import hold_out
from motivnet.datasets.layouts import REMEDIES
from motivnet.datasets.listing import summary_of_skipped
from motivnet.datasets.sample import Dataset, Sample
from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS

logger = logging.getLogger(__name__)

Samples = tuple[Sample, ...]

_SAME_PERSON = "person who is in another part"
_SAME_IMAGE = "same image as in another part"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The parts of a dataset, each in order of name, and what was left out.

    ``duplicates`` are the names of byte-identical images in different parts; of such a pair the
    first was taken out where it was to be trained on. ``digests`` has that of each image in the
    parts by name, as ``Sample.digest`` gives it.
    """

    training: Samples
    validation: Samples
    test: Samples = ()
    skipped: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    duplicates: Pairs = ()
    digests: dict[str, str] = field(default_factory=dict)


def split_dataset(
    dataset: Dataset,
    *,
    seed: int,
    validation_share: float = 0.1,
    stratified: bool = True,
    per_class: PerClass = None,
    max_unreadable: float = MAX_UNREADABLE,
) -> Split:
    """A split that follows from the dataset and the seed alone.

    What the dataset calls its test and validation parts stays that; without a validation part a
    random share of the rest is held out. Only images that are used are opened.

    Args:
        validation_share: Of the images left to train on.
        stratified: Whether the share is held out of each class, or of all images as in the paper.
        per_class: Images to draw of each class before any are held out; an unreadable one is
        replaced by another.
        max_unreadable: The share of unreadable images that is still put up with.

    Raises:
        ConfigError: If an argument is out of its range.
        DatasetError: If a class has no image to train on, too many images are unreadable, or
        nothing can be held out.
    """
    declared, same_person = _declared_parts(dataset.samples)
    _check_classes(declared.training, dataset)
    checked, drawn = _drawn(
        dataset, declared, seed=seed, per_class=per_class, max_unreadable=max_unreadable
    )
    if declared.validation:
        training, validation = drawn, _readable_of(declared.validation, checked)
    else:
        training, validation = hold_out(
            drawn, share=validation_share, seed=seed, stratified=stratified
        )
    test = _readable_of(declared.test, checked)
    duplicates = duplicates_between((test, validation, training), digests=checked.digests)
    unique = _without({first for first, _ in duplicates}, training)
    _check_classes(unique, dataset)
    own = {
        UNREADABLE: len(checked.unreadable) - len(dataset.unreadable),
        _SAME_PERSON: same_person,
        _SAME_IMAGE: len(training) - len(unique),
    }
    return Split(
        training=unique,
        validation=validation,
        test=test,
        skipped=_skipped(dataset, own),
        unreadable=dict(sorted(checked.unreadable.items())),
        duplicates=duplicates,
        digests={
            sample.name: checked.digests[sample.name] for sample in (*unique, *validation, *test)
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    training: Samples
    validation: Samples
    test: Samples


def _declared_parts(samples: Samples) -> tuple[_Parts, int]:
    """The parts that a dataset tells, and how many samples are in none because their person is in a later part."""
    test = _in_order(sample for sample in samples if sample.part == "test")
    all_validation = _in_order(sample for sample in samples if sample.part == "val")
    all_training = _in_order(sample for sample in samples if sample.part not in ("test", "val"))
    validation = _without_people_of(test, all_validation)
    training = _without_people_of(test + validation, all_training)
    lost = len(all_validation) - len(validation) + len(all_training) - len(training)
    return _Parts(training=training, validation=validation, test=test), lost


def _drawn(
    dataset: Dataset, declared: _Parts, *, seed: int, per_class: PerClass, max_unreadable: float
) -> tuple[Checked, Samples]:
    """What can be read of the images that are used, and those among them that were drawn to learn from."""
    queues = queues_from(declared.training, seed=seed)
    wanted = number_to_draw(queues, per_class, labels=dataset.labels)
    first = [sample for queue in queues.values() for sample in queue[:wanted]]
    checked = Checked(unreadable=dataset.unreadable) + readable(
        [*first, *declared.validation, *declared.test]
    )
    refuse_many_unreadable(checked, max_share=max_unreadable)
    if wanted is not None:
        checked = topped_up(queues, checked, wanted=wanted)
        refuse_many_unreadable(checked, max_share=max_unreadable)
    drawn = drawn_from(queues, checked, wanted=wanted, per_class=per_class, labels=dataset.labels)
    return checked, _in_order(drawn)


def _check_classes(training: Samples, dataset: Dataset) -> None:
    counts = Counter(sample.label for sample in training)
    if empty := [label for index, label in enumerate(dataset.labels) if not counts[index]]:
        raise DatasetError(
            f"there is no image of class {', '.join(empty)} to train on; {_remedy(empty, dataset)}"
        )


def _remedy(empty: list[str], dataset: Dataset) -> str:
    known = next((text for label in empty if (text := REMEDIES.get((dataset.layout, label)))), None)
    return known or (
        "add images, or train with 7 classes" if empty == [EMOTIONS[7]] else "add images of it"
    )


def _skipped(dataset: Dataset, own: dict[str, int]) -> dict[str, int]:
    """What the reader and the split have left out; of the latter, the log tells."""
    found = {reason: count for reason, count in own.items() if count}
    if found:
        logger.warning("%s: skipped %s", dataset.root, summary_of_skipped(found))
    return dict(Counter(dataset.skipped) + Counter(found))


def _in_order(samples: Iterable[Sample]) -> Samples:
    return tuple(sorted(samples, key=lambda sample: sample.name))


def _readable_of(samples: Samples, checked: Checked) -> Samples:
    return tuple(sample for sample in samples if sample.name in checked.digests)


def _without(names: set[str], samples: Samples) -> Samples:
    return tuple(sample for sample in samples if sample.name not in names)


def _without_people_of(others: Samples, samples: Samples) -> Samples:
    people = {sample.person for sample in others} - {None}
    return tuple(sample for sample in samples if sample.person not in people)
