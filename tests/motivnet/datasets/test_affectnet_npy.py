from pathlib import Path

import cv2
import numpy as np
import pytest

from motivnet.datasets import affectnet_npy
from motivnet.datasets.read import read_dataset
from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face


def put_face(path: Path, emotion: str = "neutral", *, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), draw_face(emotion, seed=seed, size=(32, 24)))


def put_label(folder: Path, name: str, value: object) -> None:
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    np.save(folder / "annotations" / f"{name}_exp.npy", np.asarray(value))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    values: list[object] = ["0", 1, np.int64(2), 3.0, b"4", [5], 6, 7]
    for number, value in enumerate(values):
        put_face(tmp_path / "train_set" / "images" / f"{number}.jpg", EMOTIONS[number])
        put_label(tmp_path / "train_set", str(number), value)
        np.save(tmp_path / "train_set" / "annotations" / f"{number}_val.npy", np.asarray(0.5))
    put_face(tmp_path / "val_set" / "images" / "0.jpg", "fear")
    put_label(tmp_path / "val_set", "0", "4")
    return tmp_path


def test_labels_are_read_as_numbers_or_text_and_the_validation_set_is_the_test_part(
    dataset: Path,
) -> None:
    assert affectnet_npy.recognises(dataset)
    found = affectnet_npy.read(dataset, labels=EMOTIONS)
    training = {f"train_set/images/{number}.jpg": (number, "train") for number in range(8)}
    read = {sample.name: (sample.label, sample.split) for sample in found.samples}
    assert read == training | {"val_set/images/0.jpg": (4, "test")}
    assert found.skipped == {}


def test_what_has_no_label_or_no_emotion_or_is_no_image_is_counted(dataset: Path) -> None:
    put_face(dataset / "val_set" / "images" / "1.jpg")
    put_face(dataset / "val_set" / "images" / "2.jpg")
    put_label(dataset / "val_set", "2", 8)
    (dataset / "val_set" / "images" / "notes.txt").write_text("notes")
    read = read_dataset(dataset, labels=EMOTIONS[:7])
    assert read.format == "AffectNet (npy labels)"
    assert read.skipped == {
        "image without a label": 1,
        "labelled none": 1,
        "not an image file": 1,
        "the model has no class contempt": 1,
    }


@pytest.mark.parametrize("value", [11, "happy", 2.5])
def test_a_label_out_of_range_names_its_file(dataset: Path, value: object) -> None:
    put_label(dataset / "val_set", "0", value)
    with pytest.raises(
        DatasetError, match=r"0_exp.npy has the label .* whole number from 0 to 10$"
    ):
        affectnet_npy.read(dataset, labels=EMOTIONS)


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x93NUMPY\x01\x00", b"\x80\x04K\x03."], ids=len
)
def test_a_damaged_label_is_refused_and_never_unpickled(dataset: Path, content: bytes) -> None:
    (dataset / "val_set" / "annotations" / "0_exp.npy").write_bytes(content)
    with pytest.raises(DatasetError, match=r"0_exp.npy is not a NumPy file of one number$"):
        affectnet_npy.read(dataset, labels=EMOTIONS)


def test_several_values_are_not_a_label(dataset: Path) -> None:
    put_label(dataset / "val_set", "0", [1, 2])
    with pytest.raises(DatasetError, match="is not a NumPy file of one number"):
        affectnet_npy.read(dataset, labels=EMOTIONS)


@pytest.mark.parametrize("folder", ["images", "annotations"])
def test_a_missing_folder_is_named(dataset: Path, folder: str) -> None:
    (dataset / "val_set" / folder).rename(dataset / "elsewhere")
    with pytest.raises(
        DatasetError, match=f"val_set/{folder} is not a folder; put AffectNet's {folder} there"
    ):
        affectnet_npy.read(dataset, labels=EMOTIONS)


def _npy(header: str, data: bytes = bytes(8), version: bytes = b"\x01\x00") -> bytes:
    text = header.encode()
    return (
        b"\x93NUMPY"
        + version
        + len(text).to_bytes(2 if version[0] == 1 else 4, "little")
        + text
        + data
    )


def _header(shape: str = "()", kind: str = "'<i8'") -> str:
    return f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}}}\n"


@pytest.mark.parametrize(
    "content",
    [
        _npy(_header("(1000000000000,)")),
        _npy(_header("(1, -1)")),
        _npy(_header(kind="'|O'")),
        _npy(_header(kind="'<U1000000000'")),
        _npy(_header(kind="'<U0'")),
        _npy(_header(kind="'<c16'")),
        _npy(_header(kind="[('a', '<i8')]")),
        _npy(_header(kind="'x' * 5")),
        _npy(_header("True")),
        _npy("[" * 3_000),
        _npy("{'descr': " + "-" * 3_000 + "1}"),
        _npy("('"),
        _npy("\\"),
        _npy(_header(), data=bytes(3)),
        _npy(_header(), version=b"\x09\x00"),
        b"PK\x03\x04" + bytes(99),
    ],
    ids=len,
)
def test_a_hostile_label_is_one_line_and_takes_no_memory(dataset: Path, content: bytes) -> None:
    (dataset / "val_set" / "annotations" / "0_exp.npy").write_bytes(content)
    with pytest.raises(DatasetError, match=r"0_exp.npy is not a NumPy file of one number$"):
        affectnet_npy.read(dataset, labels=EMOTIONS)


@pytest.mark.parametrize(
    "value",
    [np.int64(3), np.array([3]), np.array("3"), np.array(b"3"), np.array([[3.0]]), np.uint8(3)],
)
def test_a_label_is_understood_in_every_form(dataset: Path, value: object) -> None:
    np.save(dataset / "val_set" / "annotations" / "0_exp.npy", value)
    found = {
        sample.name: sample.label for sample in affectnet_npy.read(dataset, labels=EMOTIONS).samples
    }
    assert EMOTIONS[found["val_set/images/0.jpg"]] == "surprise"
