import logging
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from motivnet.datasets.left_out import Tally
from motivnet.datasets.sample import Dataset, RawPixels, Sample, SplitName
from motivnet.datasets.sampling import PerClass
from motivnet.datasets.split import Split, split_dataset
from motivnet.errors import ConfigError, DatasetError
from motivnet.labels import EMOTIONS
from motivnet_training.batch_sampler import BatchSampler

LABELS = ("calm", "glad", "sad")


def pixels(name: str) -> RawPixels:
    return RawPixels(data=name.encode(), size=(1, len(name)))


def sample(
    label: int, name: str, *, split: SplitName | None = None, person: str | None = None
) -> Sample:
    name = f"{LABELS[label]}/{name}"
    return Sample(name=name, image=pixels(name), label=label, split=split, person=person)


def dataset(*samples: Sample, labels: tuple[str, ...] = LABELS) -> Dataset:
    return Dataset(format="test", root=Path("faces"), labels=labels, samples=samples)


def of_counts(*counts: int, split: SplitName | None = None) -> list[Sample]:
    return [
        sample(label, f"{split}{i}", split=split)
        for label, count in enumerate(counts)
        for i in range(count)
    ]


def unreadable(face: Sample) -> Sample:
    return replace(face, image=Path("/nowhere") / face.name)


def names(samples: tuple[Sample, ...]) -> list[str]:
    return [sample.name for sample in samples]


def labels_in(samples: tuple[Sample, ...]) -> list[int]:
    counts = Counter(sample.label for sample in samples)
    return [counts[label] for label in range(len(LABELS))]


def test_a_tenth_of_each_class_is_held_out() -> None:
    faces = dataset(*of_counts(40, 23, 3))
    split = split_dataset(faces, seed=0)
    assert labels_in(split.validation) == [4, 2, 1]
    assert sorted(names(split.training) + names(split.validation)) == sorted(names(faces.samples))
    assert (split.test, split.skipped, split.unreadable, split.duplicates) == ((), {}, {}, ())


def test_a_class_of_one_is_trained_on() -> None:
    split = split_dataset(dataset(*of_counts(40, 2, 1)), seed=0)
    assert labels_in(split.validation) == [4, 1, 0]
    assert labels_in(split.training) == [36, 1, 1]


@pytest.mark.parametrize("stratified", [True, False])
def test_the_papers_numbers_are_drawn_and_split_nine_to_one(stratified: bool) -> None:
    split = split_dataset(
        dataset(*of_counts(900, 375, 600)), seed=0, per_class="smallest", stratified=stratified
    )
    drawn = [split.training[i] for i in range(len(split.training))] + list(split.validation)
    assert labels_in(tuple(drawn)) == [375, 375, 375]
    assert (len(split.training), len(split.validation)) == (
        (1011, 114) if stratified else (1013, 112)
    )


def test_without_strata_the_classes_of_the_held_out_are_left_to_chance() -> None:
    held_out = {tuple(labels_in(unstratified(seed).validation)) for seed in range(5)}
    assert {sum(counts) for counts in held_out} == {9}
    assert len(held_out) > 1


def unstratified(seed: int) -> Split:
    return split_dataset(dataset(*of_counts(30, 30, 30)), seed=seed, stratified=False)


def test_a_fixed_number_of_each_class_is_drawn() -> None:
    split = split_dataset(dataset(*of_counts(30, 20, 25)), seed=0, per_class=10)
    assert labels_in(split.training) == [9, 9, 9]
    assert labels_in(split.validation) == [1, 1, 1]


def test_every_image_can_be_drawn_and_none_twice() -> None:
    faces = dataset(*of_counts(20, 5, 5))
    drawn: set[str] = set()
    for seed in range(20):
        split = split_dataset(faces, seed=seed, per_class="smallest")
        chosen = names(split.training) + names(split.validation)
        assert len(set(chosen)) == len(chosen) == 15
        drawn |= set(chosen)
    assert drawn == set(names(faces.samples))


@pytest.mark.parametrize("per_class", [None, "smallest", 7])
def test_the_split_follows_seed_and_names_and_not_the_order_of_the_files(
    per_class: PerClass,
) -> None:
    samples = of_counts(40, 20, 10)
    mixed = random.Random(0).sample(samples, len(samples))
    first = split_dataset(dataset(*samples), seed=1, per_class=per_class)
    assert split_dataset(dataset(*mixed), seed=1, per_class=per_class) == first
    assert split_dataset(dataset(*samples), seed=2, per_class=per_class) != first
    assert names(first.training) == sorted(names(first.training))


def test_parts_that_the_dataset_brings_are_kept() -> None:
    samples = (
        of_counts(4, 3, 2, split="train")
        + of_counts(2, 1, 1, split="val")
        + of_counts(1, 2, 3, split="test")
    )
    split = split_dataset(dataset(*samples), seed=0)
    found = {
        "train": labels_in(split.training),
        "val": labels_in(split.validation),
        "test": labels_in(split.test),
    }
    assert found == {"train": [4, 3, 2], "val": [2, 1, 1], "test": [1, 2, 3]}
    assert {sample.split for sample in split.test} == {"test"}


def test_only_training_images_are_drawn_and_held_out() -> None:
    samples = of_counts(20, 10, 30, split="train") + of_counts(3, 3, 4, split="test")
    split = split_dataset(dataset(*samples), seed=0, per_class="smallest")
    parts = [labels_in(split) for split in (split.training, split.validation, split.test)]
    assert parts == [[9, 9, 9], [1, 1, 1], [3, 3, 4]]


def of_people(count: int, *, takes: int = 2) -> list[Sample]:
    return [
        sample(label, f"{person:03d}-{take}", person=f"P{person}")
        for person in range(count)
        for label in range(3)
        for take in range(takes if (person + label) % 3 else 1)
    ]


@pytest.mark.parametrize("stratified", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_nobody_is_in_two_parts(stratified: bool, seed: int) -> None:
    faces = of_people(40)
    split = split_dataset(dataset(*faces), seed=seed, stratified=stratified)
    people = [{sample.person for sample in split} for split in (split.training, split.validation)]
    assert not people[0] & people[1]
    assert len(split.training) + len(split.validation) == len(faces)
    assert 0.08 < len(split.validation) / len(faces) < 0.12
    assert all(labels_in(split.validation))


def test_a_rare_class_is_validated_on_too() -> None:
    faces = [sample(0, f"{i}", person=f"P{i}") for i in range(30)] + [sample(1, "0", person="P0")]
    faces += [sample(1, "1", person="P1"), sample(2, "0", person="P2"), sample(2, "1", person="P2")]
    for seed in range(10):
        split = split_dataset(dataset(*faces), seed=seed)
        assert labels_in(split.validation)[1:] == [1, 0]
        assert labels_in(split.training)[1:] == [1, 2]


def test_people_of_the_test_part_are_not_trained_on(caplog: pytest.LogCaptureFixture) -> None:
    faces = [
        *of_people(10),
        sample(0, "t", split="test", person="P3"),
        sample(1, "v", split="val", person="P4"),
    ]
    faces += [sample(0, "w", split="val", person="P3")]
    with caplog.at_level(logging.WARNING):
        split = split_dataset(dataset(*faces), seed=0)
    assert {sample.person for sample in split.training} == {f"P{i}" for i in range(10)} - {
        "P3",
        "P4",
    }
    assert names(split.validation) == ["glad/v"]
    left_out = 1 + sum(sample.person in ("P3", "P4") for sample in of_people(10))
    assert split.skipped == {"person who is in another split": left_out}
    assert caplog.messages == [f"faces: left out {left_out} x person who is in another split"]


def test_images_of_one_person_cannot_be_split() -> None:
    with pytest.raises(DatasetError, match="no class has two images of different people"):
        split_dataset(dataset(*of_people(1)), seed=0)


def test_classes_of_single_images_cannot_be_split() -> None:
    with pytest.raises(DatasetError, match="no class has two images"):
        split_dataset(dataset(*of_counts(1, 1, 1)), seed=0)


def test_an_unreadable_image_is_left_out_of_every_part_and_listed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    samples = (
        of_counts(10, 10, 10, split="train")
        + of_counts(2, 2, 2, split="val")
        + of_counts(2, 2, 2, split="test")
    )
    broken = ["calm/train3", "glad/val1", "sad/test0"]
    faces = dataset(*[unreadable(face) if face.name in broken else face for face in samples])
    with caplog.at_level(logging.WARNING):
        split = split_dataset(faces, seed=0)
    assert [labels_in(p) for p in (split.training, split.validation, split.test)] == [
        [9, 10, 10],
        [2, 1, 2],
        [2, 2, 1],
    ]
    assert split.skipped == {"unreadable image": 3}
    assert sorted(split.unreadable) == broken
    assert split.unreadable["glad/val1"] == "/nowhere/glad/val1 does not exist"
    assert caplog.messages == [
        "faces: left out 3 x unreadable image (calm/train3, glad/val1, sad/test0 each "
        "does not exist)"
    ]


def test_an_unreadable_image_is_replaced_by_another_of_its_class() -> None:
    samples = of_counts(200, 100, 150)
    whole = split_dataset(dataset(*samples), seed=0, per_class=50)
    drawn = names(whole.training) + names(whole.validation)
    broken = [name for name in drawn if name.startswith("calm")][:4]
    damaged = dataset(*[unreadable(face) if face.name in broken else face for face in samples])
    split = split_dataset(damaged, seed=0, per_class=50)
    assert labels_in(split.training + split.validation) == [50, 50, 50]
    assert set(drawn) - set(names(split.training + split.validation)) == set(broken)
    assert sorted(split.unreadable) == sorted(broken)


def test_images_that_are_not_drawn_are_not_opened() -> None:
    samples = of_counts(100, 20, 20)
    whole = split_dataset(dataset(*samples), seed=0, per_class=10)
    drawn = set(names(whole.training + whole.validation))
    others_gone = dataset(*[face if face.name in drawn else unreadable(face) for face in samples])
    assert split_dataset(others_gone, seed=0, per_class=10) == whole


def test_unreadable_images_of_the_smallest_class_make_every_class_smaller() -> None:
    samples = [
        unreadable(f) if f.name in ("glad/None0", "glad/None1") else f
        for f in of_counts(90, 30, 90)
    ]
    split = split_dataset(dataset(*samples), seed=0, per_class="smallest")
    assert labels_in(split.training + split.validation) == [28, 28, 28]


def test_a_class_with_too_few_readable_images_for_the_number_asked_for_is_named() -> None:
    samples = [
        unreadable(face) if face.name == "glad/None0" else face for face in of_counts(90, 30, 90)
    ]
    with pytest.raises(
        DatasetError, match="class glad has 29 images to draw from, fewer than the 30 asked for"
    ):
        split_dataset(dataset(*samples), seed=0, per_class=30)


def test_more_than_a_class_has_cannot_be_drawn_and_no_image_is_opened_to_say_so() -> None:
    with pytest.raises(
        DatasetError,
        match="class sad has 9 images to draw from, fewer than the 10 asked for; ask for",
    ):
        split_dataset(dataset(*map(unreadable, of_counts(20, 10, 9))), seed=0, per_class=10)


@pytest.mark.parametrize(
    ("broken", "count", "stops"), [(5, 60, True), (4, 60, False), (5, 100, False), (6, 100, True)]
)
def test_too_many_unreadable_images_stop_the_run(broken: int, count: int, stops: bool) -> None:
    samples = of_counts(count - 20, 10, 10)
    faces = dataset(*[unreadable(face) for face in samples[:broken]], *samples[broken:])
    if not stops:
        assert len(split_dataset(faces, seed=0).unreadable) == broken
        return
    message = (
        f"{broken} of {count} images cannot be read, more than 5%: "
        "/nowhere/calm/None0 does not exist; …; check"
    )
    with pytest.raises(DatasetError, match=message):
        split_dataset(faces, seed=0)


def test_the_share_of_unreadable_images_can_be_raised() -> None:
    samples = of_counts(20, 10, 10)
    faces = dataset(*[unreadable(face) for face in samples[:10]], *samples[10:])
    assert labels_in(split_dataset(faces, seed=0, max_unreadable=0.5).training) == [9, 9, 9]


def test_images_found_unreadable_while_reading_count_too() -> None:
    faces = replace(
        dataset(*of_counts(20, 10, 10)),
        unreadable={f"{i}.jpg": "broken" for i in range(4)},
        left_out=Tally({"unreadable image": 4, "not an image file": 2}),
    )
    with pytest.raises(DatasetError, match="5 of 44 images cannot be read"):
        split_dataset(
            replace(faces, samples=(unreadable(faces.samples[0]), *faces.samples[1:])), seed=0
        )
    assert split_dataset(faces, seed=0, max_unreadable=0.2).skipped == {
        "unreadable image": 4,
        "not an image file": 2,
    }


def twin(face: Sample, label: int, name: str, *, split: SplitName) -> Sample:
    return replace(sample(label, name, split=split), image=face.image)


def test_the_same_image_in_two_parts_is_reported_and_not_trained_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    samples = of_counts(5, 5, 5, split="train")
    samples += [twin(samples[0], 0, "v", split="val"), twin(samples[1], 1, "t", split="test")]
    samples += [sample(2, "v", split="val")]
    samples += [twin(samples[-1], 2, "t", split="test")]
    with caplog.at_level(logging.WARNING):
        split = split_dataset(dataset(*samples), seed=0)
    assert split.duplicates == (
        ("calm/train0", "calm/v"),
        ("calm/train1", "glad/t"),
        ("sad/v", "sad/t"),
    )
    assert labels_in(split.training) == [3, 5, 5]
    assert names(split.validation) == ["calm/v", "sad/v"]
    assert names(split.test) == ["glad/t", "sad/t"]
    assert split.skipped == {"same image as in another split": 2}
    assert caplog.messages == ["faces: left out 2 x same image as in another split"]


def test_the_digests_are_those_of_the_images_in_the_parts() -> None:
    samples = of_counts(10, 10, 10, split="train") + of_counts(2, 2, 2, split="val")
    samples[3] = unreadable(samples[3])
    samples += [twin(samples[0], 0, "t", split="test")]
    split = split_dataset(dataset(*samples), seed=0)
    assert len(split.training) == 28
    in_parts = (*split.training, *split.validation, *split.test)
    assert split.digests == {sample.name: sample.digest() for sample in in_parts}


def test_who_is_held_out_does_not_follow_the_order_of_an_epoch() -> None:
    faces = [sample(0, f"{number:02d}") for number in range(40)] + [sample(1, "0"), sample(2, "0")]
    split = split_dataset(dataset(*faces), seed=3, stratified=False)
    everyone = sorted(names(split.training + split.validation))
    held_out = {everyone.index(name) for name in names(split.validation)}
    for epoch in range(50):
        [batch, *_] = BatchSampler(count=len(faces), batch_size=len(held_out), seed=3, epoch=epoch)
        assert {index for _, index in batch} != held_out


def test_copies_that_a_random_split_puts_into_both_parts_are_found() -> None:
    first = of_counts(30, 30, 30)
    faces = dataset(*first, *[replace(face, name=f"{face.name}-copy") for face in first])
    split = split_dataset(faces, seed=0)
    trained = {face.digest() for face in split.training}
    assert not trained & {face.digest() for face in split.validation}
    assert len(split.duplicates) == split.skipped["same image as in another split"] > 0


@pytest.mark.parametrize("split", [None, "test"])
def test_an_empty_class_is_named_with_what_to_do(split: SplitName | None) -> None:
    samples = [*of_counts(5, 5, 0), *([sample(2, "t", split=split)] if split else [])]
    with pytest.raises(DatasetError, match="no image of class sad to train on; add images of it"):
        split_dataset(dataset(*samples), seed=0)


def test_a_class_without_a_readable_image_is_empty() -> None:
    samples = [*of_counts(5, 5, 0), unreadable(sample(2, "1")), unreadable(sample(2, "2"))]
    with pytest.raises(DatasetError, match="no image of class sad to train on"):
        split_dataset(dataset(*samples), seed=0)


def test_without_images_of_contempt_seven_classes_are_proposed() -> None:
    samples = [
        replace(sample(0, f"{label}-{i}"), label=label) for label in range(7) for i in range(2)
    ]
    with pytest.raises(
        DatasetError, match=r"no image of class contempt to train on; .* or train with 7 classes"
    ):
        split_dataset(dataset(*samples, labels=EMOTIONS), seed=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation_share": 0.0}, "must be between 0 and 1, not 0"),
        ({"validation_share": 1.0}, "must be between 0 and 1, not 1"),
        ({"per_class": 0}, "at least one image must be drawn of each class, not 0"),
    ],
)
def test_arguments_out_of_range_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        split_dataset(dataset(*of_counts(5, 5, 5)), seed=0, **changes)
