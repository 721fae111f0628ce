import csv
from pathlib import Path

import cv2
import pytest

from motivnet.datasets import affectnet
from motivnet.datasets.read import read_dataset
from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face

COLUMNS = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height"),
    *("facial_landmarks", "expression", "valence", "arousal"),
)
Row = tuple[str, object]


def put_face(path: Path, emotion: str = "neutral", *, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), draw_face(emotion, seed=seed, size=(32, 24)))


def write_list(
    path: Path,
    rows: list[Row],
    *,
    encoding: str = "utf-8",
    end: str = "\r\n",
    columns: tuple[str, ...] = COLUMNS,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, lineterminator=end)
        writer.writerow(columns)
        for name, expression in rows:
            cells = {
                "subDirectory_filePath": name,
                "expression": expression,
                "facial_landmarks": "1.5;2,5;3",
            }
            writer.writerow([cells.get(column, "0") for column in columns])


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    lists, images = (
        tmp_path / "Manually_Annotated_file_lists",
        tmp_path / "Manually_Annotated_Images",
    )
    training: list[Row] = [(f"{code}/face.jpg", code) for code in range(11)]
    write_list(lists / "training.csv", training)
    write_list(lists / "validation.csv", [("500/a.jpg", 3), ("500/b.png", 7)])
    for name, code in [*training, ("500/a.jpg", 3), ("500/b.png", 7)]:
        put_face(images / name, EMOTIONS[min(int(str(code)), 7)], seed=int(str(code)))
    return tmp_path


def test_the_lists_give_labels_and_parts_and_what_is_no_emotion_is_counted(dataset: Path) -> None:
    assert affectnet.recognises(dataset)
    found = affectnet.read(dataset, labels=EMOTIONS)
    read = {sample.name: (sample.label, sample.split, sample.person) for sample in found.samples}
    training = {f"{code}/face.jpg": (code, "train", None) for code in range(8)}
    assert read == training | {"500/a.jpg": (3, "test", None), "500/b.png": (7, "test", None)}
    assert found.skipped == {"labelled none": 1, "labelled uncertain": 1, "labelled no face": 1}


def test_contempt_is_counted_where_the_model_has_seven_classes(dataset: Path) -> None:
    found = affectnet.read(dataset, labels=EMOTIONS[:7])
    assert {sample.label for sample in found.samples} == set(range(7))
    assert found.skipped["the model has no class contempt"] == 2


def test_the_images_lie_in_the_folder_of_images(dataset: Path) -> None:
    read = read_dataset(dataset, labels=EMOTIONS)
    assert read.format == "AffectNet (CSV lists)"
    assert read.samples[0].image == dataset / "Manually_Annotated_Images" / read.samples[0].name
    assert read.samples[0].pixels().shape == (32, 24, 3)
    assert read.unreadable == {}


def test_lists_beside_the_folder_of_images_are_found_too(dataset: Path) -> None:
    for file in (dataset / "Manually_Annotated_file_lists").iterdir():
        file.rename(dataset / file.name)
    (dataset / "Manually_Annotated_file_lists").rmdir()
    assert len(affectnet.read(dataset, labels=EMOTIONS).samples) == 10


def test_an_image_of_both_lists_stays_in_the_test_part(dataset: Path) -> None:
    rows: list[Row] = [("500/a.jpg", 3), ("500/b.png", 2), ("0/face.jpg", 0)]
    write_list(dataset / "Manually_Annotated_file_lists" / "training.csv", rows)
    found = affectnet.read(dataset, labels=EMOTIONS)
    assert [(sample.name, sample.split) for sample in found.samples] == [
        ("500/a.jpg", "test"),
        ("500/b.png", "test"),
        ("0/face.jpg", "train"),
    ]
    assert found.skipped == {"listed twice": 1, "listed again with another label": 1}


@pytest.mark.parametrize("expression", [11, -1, "joy", "3.5", "", "nan", "1e999"])
def test_an_expression_out_of_range_names_its_line(dataset: Path, expression: object) -> None:
    file = dataset / "Manually_Annotated_file_lists" / "training.csv"
    write_list(file, [("1/a.jpg", 1), ("1/b.jpg", expression)])
    with pytest.raises(
        DatasetError, match=r"line 3 of .*training.csv has the label .*a whole number from 0 to 10$"
    ):
        affectnet.read(dataset, labels=EMOTIONS)


def test_a_missing_column_is_named(dataset: Path) -> None:
    write_list(
        dataset / "Manually_Annotated_file_lists" / "training.csv",
        [("a.jpg", 1)],
        columns=COLUMNS[:6],
    )
    with pytest.raises(
        DatasetError,
        match=r"training.csv lacks the column expression; .* has: subDirectory_filePath, f",
    ):
        affectnet.read(dataset, labels=EMOTIONS)


def test_a_missing_folder_of_images_is_named(dataset: Path) -> None:
    (dataset / "Manually_Annotated_Images").rename(dataset / "elsewhere")
    with pytest.raises(
        DatasetError,
        match="Manually_Annotated_Images is not a folder; put AffectNet's images there",
    ):
        affectnet.read(dataset, labels=EMOTIONS)


def test_a_list_of_another_dataset_is_not_taken_for_affectnets(tmp_path: Path) -> None:
    put_face(tmp_path / "sad" / "1.png")
    write_list(tmp_path / "training.csv", [("sad/1.png", 2)])
    assert read_dataset(tmp_path, labels=EMOTIONS).format == "class folders"


def test_lists_without_the_line_of_names_are_read(dataset: Path) -> None:
    with_names = affectnet.read(dataset, labels=EMOTIONS)
    for file in (dataset / "Manually_Annotated_file_lists").iterdir():
        file.write_text(file.read_text().split("\n", 1)[1])
    assert affectnet.read(dataset, labels=EMOTIONS) == with_names


def test_a_list_without_names_and_with_other_columns_is_not_guessed(dataset: Path) -> None:
    file = dataset / "Manually_Annotated_file_lists" / "validation.csv"
    file.write_text("500/a.jpg,3\n500/b.png,7\n")
    with pytest.raises(DatasetError, match=r"lacks the column subDirectory_filePath, expression; "):
        affectnet.read(dataset, labels=EMOTIONS)


def test_paths_as_windows_writes_them_are_read(dataset: Path) -> None:
    file = dataset / "Manually_Annotated_file_lists" / "validation.csv"
    write_list(file, [("500\\a.jpg", 3), (".\\500\\b.png", 7)])
    read = read_dataset(dataset, labels=EMOTIONS, splits=("test",))
    assert (len(read.samples), read.unreadable) == (2, {})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            r"C:\Users\me\500\a.jpg",
            r"names C:.*a\.jpg, which is on another machine; make",
        ),
        ("/home/me/500/a.jpg", "names /home/me/500/a.jpg, which this machine does not have; make"),
    ],
)
@pytest.mark.parametrize("row", [0, 1])
def test_paths_of_another_machine_are_said(
    dataset: Path, name: str, message: str, row: int
) -> None:
    rows: list[Row] = [("500/b.png", 7)]
    rows.insert(row, (name, 3))
    write_list(dataset / "Manually_Annotated_file_lists" / "validation.csv", rows)
    with pytest.raises(DatasetError, match=message):
        read_dataset(dataset, labels=EMOTIONS)


def test_images_are_found_in_the_folder_of_their_archive_and_all_in_a_wrapper(
    dataset: Path,
) -> None:
    inner = dataset / "data" / "AffectNet"
    (inner / "Manually_Annotated").mkdir(parents=True)
    (dataset / "Manually_Annotated_file_lists").rename(inner / "Manually_Annotated_file_lists")
    images = "Manually_Annotated_Images"
    (dataset / images).rename(inner / "Manually_Annotated" / images)
    assert len(read_dataset(dataset, labels=EMOTIONS).samples) == 10


def test_a_list_alone_says_which_folder_to_give(dataset: Path) -> None:
    file = dataset / "Manually_Annotated_file_lists" / "validation.csv"
    with pytest.raises(DatasetError) as caught:
        read_dataset(file, labels=EMOTIONS)
    assert str(caught.value) == (
        f"{file} is a part of AffectNet (CSV lists); give its folder: {dataset}"
    )
