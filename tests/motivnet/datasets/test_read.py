import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest

from motivnet.datasets.read import EVALUATED, FORMATS, read_dataset, recognise
from motivnet.errors import ConfigError, DatasetError, FileError
from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face, iterate_faces
from motivnet_training.demo import draw_samples

SEVEN = EMOTIONS[:7]


def put_face(path: Path, emotion: str = "neutral", *, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), draw_face(emotion, seed=seed, size=(32, 24)))


def test_an_unreadable_image_is_taken_out_counted_and_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("anger/1.jpg", "anger/2.PNG", "bored/1.jpg", "bored/2.jpg"):
        put_face(tmp_path / name)
    (tmp_path / "anger" / "3.jpg").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        read = read_dataset(tmp_path, labels=SEVEN)
    assert [sample.name for sample in read.samples] == ["anger/1.jpg", "anger/2.PNG"]
    assert read.skipped == {"unknown class folder bored": 2, "unreadable image": 1}
    assert list(read.unreadable) == ["anger/3.jpg"]
    assert "3.jpg is not a JPEG" in read.unreadable["anger/3.jpg"]
    assert caplog.messages == [
        f"{tmp_path}: left out 2 x unknown class folder bored (bored/1.jpg, bored/2.jpg), "
        "1 x unreadable image (anger/3.jpg is not a JPEG, PNG, WebP, BMP, TIFF, AVIF or HEIC "
        "image; convert it to one of these)"
    ]


def test_images_are_not_opened_without_the_check(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sad").mkdir()
    (tmp_path / "sad" / "1.jpg").write_bytes(b"no image")
    read = read_dataset(tmp_path, labels=SEVEN, check=False)
    assert (len(read.samples), read.skipped, caplog.messages) == (1, {}, [])


@pytest.mark.parametrize(
    ("broken", "count", "stops"), [(5, 50, True), (4, 50, False), (5, 100, False)]
)
def test_too_many_unreadable_images_are_refused(
    tmp_path: Path, broken: int, count: int, stops: bool
) -> None:
    put_face(tmp_path / "sad" / "face.png")
    for number in range(broken):
        put_text(tmp_path / "anger" / f"{number}.png")
    for number in range(1, count - broken):
        (tmp_path / "sad" / f"{number}.png").hardlink_to(tmp_path / "sad" / "face.png")
    if stops:
        with pytest.raises(
            DatasetError,
            match=f"^{broken} of {count} images cannot be read, more than 5%: .*0.png is",
        ):
            read_dataset(tmp_path, labels=SEVEN)
    read = read_dataset(tmp_path, labels=SEVEN, max_unreadable=1.0 if stops else 0.05)
    assert (len(read.samples), len(read.unreadable)) == (count - broken, broken)


def test_every_image_that_was_checked_has_its_digest(tmp_path: Path) -> None:
    for seed, name in enumerate(("sad/1.png", "happy/2.png")):
        put_face(tmp_path / name, seed=seed)
    read = read_dataset(tmp_path, labels=SEVEN)
    assert read.digests == {sample.name: sample.digest() for sample in read.samples}
    assert read_dataset(tmp_path, labels=SEVEN, check=False).digests == {}


def test_the_limit_keeps_the_first_of_each_class_and_opens_no_other(tmp_path: Path) -> None:
    for name in ("sad/1.png", "sad/2.png", "happy/1.png"):
        put_face(tmp_path / name)
    (tmp_path / "sad" / "3.png").write_bytes(b"no image")
    read = read_dataset(tmp_path, labels=SEVEN, limit=2)
    assert [sample.name for sample in read.samples] == ["happy/1.png", "sad/1.png", "sad/2.png"]
    assert read.skipped == {}


def test_counts_have_every_label_in_order(tmp_path: Path) -> None:
    for name in ("sad/1.png", "sad/2.png", "neutral/1.png"):
        put_face(tmp_path / name)
    counts = read_dataset(tmp_path, labels=SEVEN).counts()
    assert list(counts.items()) == [
        (label, {"neutral": 1, "sadness": 2}.get(label, 0)) for label in SEVEN
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            None,
            r"is not a folder; give a folder with one folder of images per class, or a dataset's$",
        ),
        (
            [],
            "has the format of no known dataset; it has nothing in it, and recognised are: train.* "
            r"\(AffectNet\), .*\(FER2013\), .* folders of images named as classes, such as",
        ),
        (["1.png"], "has the format of no known dataset; it has 1.png, and rec"),
        (
            ["bored/1.png"],
            r"holds no image of a known class \(1 x unknown class folder bored \(bored/1.png\)\);",
        ),
        (
            ["anger/notes.txt"],
            r"1 x not an image file \(anger/notes.txt\)\); .* the classes are neutral, happiness,",
        ),
        (
            ["anger/broken.jpg"],
            r"\(1 x unreadable image \(anger/broken.jpg is not a JPEG, .*\)\); .* fear, disg",
        ),
    ],
    ids=["missing", "empty", "no folders", "only unknown classes", "no images", "none readable"],
)
def test_what_is_no_dataset_is_refused(
    tmp_path: Path, content: list[str] | None, message: str
) -> None:
    folder = tmp_path / "faces"
    if content is not None:
        folder.mkdir()
        for name in content:
            put_face(folder / name) if name.endswith("png") else put_text(folder / name)
    with pytest.raises(DatasetError, match=message):
        read_dataset(folder, labels=SEVEN)


def put_text(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("text")


@pytest.mark.parametrize("name", ["faces.csv", "photo.jpg", "fer2013.csv.zip"])
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, name: str) -> None:
    put_text(tmp_path / name)
    with pytest.raises(DatasetError, match="has the format of no known dataset"):
        read_dataset(tmp_path / name, labels=SEVEN)


def test_a_limit_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be at least 1, not 0"):
        read_dataset(tmp_path, labels=SEVEN, limit=0)


def test_a_refusal_of_the_system_is_one_line() -> None:
    with pytest.raises(FileError, match=r"^a{300} cannot be read: File name too long$"):
        read_dataset("a" * 300, labels=SEVEN)


def test_class_folders_are_the_last_format_that_is_tried() -> None:
    assert list(FORMATS)[-1] == "class folders"


def test_a_layout_is_found_for_a_path_with_a_trailing_slash(tmp_path: Path) -> None:
    put_face(tmp_path / "sad" / "1.png")
    assert recognise(Path(f"{tmp_path}/")) == ("class folders", tmp_path)


def test_drawn_faces_are_samples_that_go_through_the_labels() -> None:
    faces = draw_samples(9, seed=3, size=(32, 24), labels=SEVEN)
    assert [sample.label for sample in faces] == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    assert len({sample.name for sample in faces}) == len({sample.digest() for sample in faces}) == 9
    for sample, face in zip(
        faces, iterate_faces(9, seed=3, size=(32, 24), labels=SEVEN), strict=True
    ):
        np.testing.assert_array_equal(sample.pixels(), face)


def test_reading_datasets_imports_no_torch() -> None:
    modules = ("split", "read", "check", "sample")
    names = ", ".join(f"motivnet.datasets.{module}" for module in modules)
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_of_the_parts_asked_for_the_first_that_the_dataset_has_is_read(tmp_path: Path) -> None:
    for name in ("train/sad/1.png", "val/sad/2.png"):
        put_face(tmp_path / name)
    whole = read_dataset(tmp_path, labels=SEVEN)
    evaluated = read_dataset(tmp_path, labels=SEVEN, splits=EVALUATED)
    assert (whole.split, len(whole.samples)) == (None, 2)
    assert (evaluated.split, [sample.name for sample in evaluated.samples]) == (
        "val",
        ["val/sad/2.png"],
    )
    put_face(tmp_path / "test" / "sad" / "3.png")
    assert read_dataset(tmp_path, labels=SEVEN, splits=EVALUATED).split == "test"
    only = read_dataset(tmp_path / "train", labels=SEVEN, splits=EVALUATED)
    assert (only.split, len(only.samples)) == (None, 1)


def lists_that_leave(root: Path) -> dict[str, Path]:
    """Lists of each layout that names files, with one image in their folder and one outside it."""
    for name in ("x.png", "json/a/in.png", "affectnet/Manually_Annotated_Images/1/in.png"):
        put_face(root / name)
    documents = {
        "relative": {"0": ["a/in.png"], "1": ["../x.png"]},
        "absolute": {"0": ["a/in.png", str(root / "x.png")]},
        "soft": {"images": {"a/../../x.png": {"fear": 1}, "a/in.png": {"fear": 1}}},
    }
    lists = {name: root / "json" / f"{name}.json" for name in documents}
    for name, document in documents.items():
        lists[name].write_text(json.dumps(document))
    rows = "subDirectory_filePath,expression\n1/in.png,1\n../../x.png,1\n"
    (root / "affectnet/training.csv").write_text(rows)
    return lists | {"affectnet": root / "affectnet"}


@pytest.mark.parametrize("kind", ["relative", "absolute", "soft", "affectnet"])
def test_a_list_names_nothing_outside_its_folder_unless_it_is_allowed(
    tmp_path: Path, kind: str
) -> None:
    path = lists_that_leave(tmp_path)[kind]
    with pytest.raises(
        DatasetError, match=r"names an image outside its folder, .*x\.png; .*--allow-outside"
    ):
        read_dataset(path, labels=EMOTIONS)
    assert len(read_dataset(path, labels=EMOTIONS, allow_outside=True).samples) == 2


def test_a_link_in_the_folder_of_a_dataset_is_its_owners(tmp_path: Path) -> None:
    lists_that_leave(tmp_path)
    (tmp_path / "json/a/link.png").symlink_to(tmp_path / "x.png")
    (tmp_path / "json/list.json").write_text(
        json.dumps({"0": ["a/link.png", str(tmp_path / "json/a/in.png")]})
    )
    assert len(read_dataset(tmp_path / "json/list.json", labels=EMOTIONS).samples) == 2


def test_several_datasets_in_a_folder_are_named(tmp_path: Path) -> None:
    for name in ("jaffe/KA.AN1.39.tiff", "kdef/AF01ANS.JPG"):
        put_text(tmp_path / name)
    with pytest.raises(
        DatasetError, match=r"holds several datasets \(jaffe: JAFFE, kdef: KDEF\); give one of them"
    ):
        read_dataset(tmp_path, labels=SEVEN)


def test_a_folder_of_unknown_files_is_told_what_would_be_recognised(tmp_path: Path) -> None:
    for name in ("x/a.mat", "x/b.csv", "x/c.jpg", "x/d.txt"):
        put_text(tmp_path / name)
    with pytest.raises(DatasetError) as caught:
        read_dataset(tmp_path / "x", labels=SEVEN)
    assert str(caught.value).startswith(
        f"{tmp_path}/x has the format of no known dataset; it has a.mat, b.csv, c.jpg, …, and "
        "recognised are: training.csv beside Manually_Annotated_Images/"
    )
    assert "1/train_00001_aligned.jpg (RAF-DB)" in str(caught.value)


def test_wrappers_end_somewhere(tmp_path: Path) -> None:
    put_face(tmp_path / "1/2/3/4/happy/1.png")
    assert len(read_dataset(tmp_path, labels=SEVEN).samples) == 1
    put_face(tmp_path / "0/1/2/3/4/5/6/happy/1.png")
    with pytest.raises(DatasetError, match="holds no image of a known class"):
        read_dataset(tmp_path / "0", labels=SEVEN)


def test_links_and_names_of_any_bytes_give_each_image_once(tmp_path: Path) -> None:
    put_face(tmp_path / "sad" / "1.png")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/sad/caf\xe9.png"))
    (tmp_path / "sad" / "1.png").rename(odd)
    (tmp_path / "sadness").symlink_to("sad")
    (tmp_path / "sad" / "up").symlink_to(tmp_path)
    read = read_dataset(tmp_path, labels=SEVEN)
    assert [sample.image for sample in read.samples] == [odd]
    assert read.skipped == {"folder that is read under another name": 2}


def test_unreadable_images_are_said_with_their_reasons(
    public_folder: Path,
    permissions: Callable[[], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("sad/1.png", "sad/2.png"):
        put_face(public_folder / name)
    (public_folder / "sad" / "2.png").chmod(0)
    (public_folder / "sad" / "3.jpe").symlink_to("gone.jpg")
    (public_folder / "sad" / "4.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with permissions():
        read = read_dataset(public_folder, labels=SEVEN)
    assert len(read.samples) == 1
    [line] = caplog.messages
    assert line.startswith(f"{public_folder}: left out 3 x unreadable image (sad/2.png cannot be o")
    assert "sad/3.jpe is a link to a file that does not exist, sad/4.heic is" in line
