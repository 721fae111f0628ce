"""The images that are measured, and those that something may be learnt from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from motivnet.errors import DatasetError
from motivnet.labels import labels_for
from motivnet.synthetic import draw_face
from motivnet_bench.optimise.data import check_enough, read_faces
from motivnet_bench.optimise.result import Data

LABELS = labels_for(7)
Draw = Callable[..., Path]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Returns a folder of faces, in class folders below some splits, or without labels."""

    def make(splits: tuple[str, ...], *, per_class: int, labelled: bool = True) -> Path:
        for number, split in enumerate(splits):
            for label in LABELS:
                folder = tmp_path / split / (label if labelled else "")
                folder.mkdir(parents=True, exist_ok=True)
                for seed in range(per_class):
                    face = draw_face(label, seed=100 * number + seed, size=(32, 32))
                    cv2.imwrite(str(folder / f"{label}{seed}.png"), face[..., ::-1])
        return tmp_path

    return make


def test_own_split_is_measured_and_the_other_trained_on(draw: Draw) -> None:
    faces = read_faces(draw(("train", "val"), per_class=2), labels=LABELS, refit=True)

    assert {sample.split for sample in faces.samples} == {"val"}
    assert {sample.split for sample in faces.others} == {"train"}
    assert faces.entry.source == "the val split"
    assert faces.entry.trained_on == 14


def test_share_is_held_out_of_a_dataset_without_splits(draw: Draw) -> None:
    faces = read_faces(draw(("",), per_class=10), labels=LABELS, refit=True)

    assert not {each.name for each in faces.samples} & {each.name for each in faces.others}
    assert len(faces.samples) == 7
    assert faces.entry.source == "held out of the training"


def test_all_images_are_measured_where_nothing_trains(draw: Draw) -> None:
    faces = read_faces(draw(("",), per_class=3), labels=LABELS)

    assert len(faces.samples) == 21
    assert faces.entry.trained_on == 0


@pytest.mark.parametrize("refit", [False, True])
def test_folder_without_labels_is_read_too(draw: Draw, refit: bool) -> None:
    faces = read_faces(draw(("",), per_class=3, labelled=False), labels=LABELS, refit=refit)

    assert not faces.entry.labelled
    assert faces.truth() is None
    assert len(faces.samples) == (2 if refit else 21)


def test_other_images_have_another_hash(draw: Draw) -> None:
    folder = draw(("",), per_class=2)
    before = read_faces(folder, labels=LABELS).sha256
    assert read_faces(folder, labels=LABELS).sha256 == before

    next(folder.rglob("*.png")).unlink()
    assert read_faces(folder, labels=LABELS).sha256 != before


def test_too_few_images_for_the_loss_are_refused_with_the_number_that_would_do() -> None:
    def data(images: int) -> Data:
        return Data(labelled=True, evaluated=images, trained_on=0, source="the val split")

    check_enough(data(300), 1.0)
    check_enough(data(3), None)
    with pytest.raises(DatasetError, match=r"299 images .* 300 images would do"):
        check_enough(data(299), 1.0)
