"""Images to train on, to validate on and to test on, which share neither people nor pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from motivnet.datasets.check import (
    MAX_UNREADABLE,
    Checked,
    Pairs,
    check_readable,
    find_duplicates,
)
from motivnet.datasets.left_out import Tally
from motivnet.datasets.read import ADVICE
from motivnet.datasets.sample import Dataset, Sample
from motivnet.datasets.sampling import (
    PerClass,
    draw,
    hold_out,
    number_to_draw,
    replace_unreadable,
    shuffle_by_class,
)
from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS

logger = logging.getLogger(__name__)

Samples = tuple[Sample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The splits of a dataset, each in the order of names, and what was left out.

    ``duplicates`` names byte-identical images in different splits; the first of such a pair was
    removed if it was to be trained on. ``digests`` has ``Sample.digest`` by name for each image.
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
    """Split a dataset; the result follows from the dataset and the seed.

    The test and validation splits of the dataset itself are kept. Without a validation split a
    random share of the rest is held out. Only images that are used are opened.

    Args:
        validation_share: The share of the images left to train on.
        stratified: Whether the share is held out of each class, or of all images as in the paper.
        per_class: Images to draw from each class before any are held out; an unreadable one is
            replaced.
        max_unreadable: The share of unreadable images that is accepted.

    Raises:
        ConfigError: If an argument is out of its range.
        DatasetError: If a class has no image to train on, too many images are unreadable, or
            nothing can be held out.
    """
    test, own_validation, candidates = _splits_without_shared_people(dataset)
    same_person = len(dataset.samples) - len(test) - len(own_validation) - len(candidates)
    _check_classes(candidates, dataset)
    queues = shuffle_by_class(candidates, seed=seed)
    wanted = number_to_draw(queues, per_class, labels=dataset.labels)
    first = [sample for queue in queues.values() for sample in queue[:wanted]]
    checked = check_readable([*first, *own_validation, *test])
    checked |= Checked(digests={}, unreadable=dataset.unreadable)
    checked.refuse_many_unreadable(max_share=max_unreadable)
    if wanted is not None:
        checked = replace_unreadable(queues, checked, wanted=wanted)
        checked.refuse_many_unreadable(max_share=max_unreadable)
    training = _in_order(
        draw(queues, checked, wanted=wanted, per_class=per_class, labels=dataset.labels)
    )
    validation = checked.readable(own_validation)
    if not own_validation:
        training, validation = hold_out(
            training, share=validation_share, seed=seed, stratified=stratified
        )
    test = checked.readable(test)
    duplicates = find_duplicates((test, validation, training), digests=checked.digests)
    leaked = {first for first, _ in duplicates}
    unique = tuple(sample for sample in training if sample.name not in leaked)
    _check_classes(unique, dataset)
    newly = Checked(
        digests={},
        unreadable={
            name: reason
            for name, reason in checked.unreadable.items()
            if name not in dataset.unreadable
        },
    )
    others = {
        "person who is in another split": same_person,
        "same image as in another split": len(training) - len(unique),
    }
    left_out = newly.left_out() | Tally(others)
    if left_out.counts:
        logger.warning("%s: left out %s", dataset.root, left_out)
    used = (*unique, *validation, *test)
    return Split(
        training=unique,
        validation=validation,
        test=test,
        skipped=(dataset.left_out | left_out).counts,
        unreadable=dict(sorted(checked.unreadable.items())),
        duplicates=duplicates,
        digests={sample.name: checked.digests[sample.name] for sample in used},
    )


def _splits_without_shared_people(dataset: Dataset) -> tuple[Samples, Samples, Samples]:
    """Return the dataset's own test, validation and other samples; nobody is in two of them."""
    kept: list[Samples] = []
    people: set[str] = set()
    for names in (("test",), ("val",), ("train", None)):
        samples = _in_order(sample for sample in dataset.samples if sample.split in names)
        kept.append(tuple(sample for sample in samples if sample.person not in people))
        people |= {sample.person for sample in kept[-1] if sample.person is not None}
    return kept[0], kept[1], kept[2]


def _check_classes(training: Samples, dataset: Dataset) -> None:
    present = {sample.label for sample in training}
    empty = [label for index, label in enumerate(dataset.labels) if index not in present]
    if not empty:
        return
    advice = "add images, or train with 7 classes" if empty == [EMOTIONS[7]] else "add images of it"
    known = (ADVICE[dataset.format, label] for label in empty if (dataset.format, label) in ADVICE)
    raise DatasetError(
        f"there is no image of class {', '.join(empty)} to train on; {next(known, advice)}"
    )


def _in_order(samples: Iterable[Sample]) -> Samples:
    return tuple(sorted(samples, key=lambda sample: sample.name))
