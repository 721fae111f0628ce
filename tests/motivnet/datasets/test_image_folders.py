from __future__ import annotations

from pathlib import Path

import pytest

from motivnet.datasets.image_folders import files_below, pick_evenly, read_class_folders
from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS

LABELS = EMOTIONS[:7]


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_hidden_files_and_folders_and_other_files_are_left_out_at_every_depth(
    tmp_path: Path,
) -> None:
    names = ("b/2.JPG", "a/x/1.png", "a/.1.png", ".cache/2.png", "a/notes.txt", "c.webp")
    (fill(tmp_path / ".hidden", *names) / "d.png").mkdir()
    found = [file.relative_to(tmp_path).as_posix() for file in files_below(tmp_path / ".hidden")]
    assert found == [".hidden/a/x/1.png", ".hidden/b/2.JPG", ".hidden/c.webp"]
    assert [file.name for file in files_below(tmp_path, suffixes={".txt"})] == []


@pytest.mark.parametrize(
    ("items", "count", "picked"),
    [("abcdefghi", 3, "aei"), ("abcd", 9, "abcd"), ("abc", 1, "a"), ("", 3, ""), ("ab", 0, "")],
)
def test_items_are_picked_evenly_from_the_first_to_the_last(
    items: str, count: int, picked: str
) -> None:
    assert pick_evenly(items, count) == list(picked)


def test_class_folders_are_called_as_labels_or_as_common_datasets_call_them(tmp_path: Path) -> None:
    names = ("Happy/b.png", "Happy/a.jpg", "Happy/.c.png", "Happy/notes.txt", "neutral/1.png")
    found = read_class_folders(fill(tmp_path, *names, ".git/1.png", "readme.md"), labels=LABELS)
    folder = tmp_path / "Happy"
    assert found.paths["happiness"] == (folder / "a.jpg", folder / "b.png")
    assert found.counts() == {"happiness": 2, "neutral": 1}
    assert found.skipped == ()


def test_an_emotion_that_the_model_does_not_have_is_skipped(tmp_path: Path) -> None:
    found = read_class_folders(fill(tmp_path, "fear/1.png", "contempt/1.png"), labels=LABELS)
    assert (list(found.paths), found.skipped) == (["fear"], ("contempt",))


def test_without_labels_every_folder_is_a_class_of_its_name(tmp_path: Path) -> None:
    found = read_class_folders(fill(tmp_path, "Boredom/1.png", "happy/1.png"))
    assert list(found.paths) == ["Boredom", "happy"]


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        ((), LABELS, "has no class folders; put the images of each class into a folder"),
        (("bored/1.png",), LABELS, "bored is not called as a class of the model; .* neutral, hap"),
        (("sad/1.png", "Sadness/1.png"), LABELS, "holds two folders of the class sadness"),
        (("sad/1.txt",), LABELS, r"sad holds no image \(.avif, .bmp, .*\); remove it or fill it"),
        (("Unknown/1.png",), None, "Unknown cannot be the name of a class; use .* than 'unknown'"),
        (("a\x07b/1.png",), None, "cannot be the name of a class"),
    ],
)
def test_what_is_not_a_set_of_class_folders_is_refused(
    tmp_path: Path, names: tuple[str, ...], labels: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        read_class_folders(fill(tmp_path, *names), labels=labels)
    with pytest.raises(DatasetError, match="is not a folder; give one that holds a folder of im"):
        read_class_folders(tmp_path / "missing", labels=labels)
