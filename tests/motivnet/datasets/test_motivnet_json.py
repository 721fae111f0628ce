import json
from pathlib import Path

import cv2
import pytest

from motivnet.datasets import motivnet_json
from motivnet.datasets.read import read_dataset
from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face


def put_face(path: Path, emotion: str = "neutral", *, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), draw_face(emotion, seed=seed, size=(32, 24)))


def write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def test_keys_are_labels_and_paths_are_relative_to_the_list(tmp_path: Path) -> None:
    for name in ("a.jpg", "more/b.jpg"):
        put_face(tmp_path / "images" / name)
    path = write(
        tmp_path / "lists" / "faces.json",
        {"0": ["../images/a.jpg"], "6": ["../images/more/b.jpg"], "2": []},
    )
    for given in (path, path.parent):
        read = read_dataset(given, labels=EMOTIONS[:7], allow_outside=True)
        assert read.format == "MotivNet JSON list"
        assert [(s.name, EMOTIONS[s.label], s.split) for s in read.samples] == [
            ("../images/a.jpg", "neutral", None),
            ("../images/more/b.jpg", "anger", None),
        ]
        assert read.samples[1].pixels().shape == (32, 24, 3)


def test_contempt_is_counted_where_the_model_has_seven_classes(tmp_path: Path) -> None:
    found = motivnet_json.read(
        write(tmp_path / "a.json", {"0": ["a"], "7": ["b", "c"]}), labels=EMOTIONS[:7]
    )
    assert len(found.samples) == 1
    assert found.skipped == {"the model has no class contempt": 2}


def test_other_labels_are_numbered_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", {"1": ["a"]})
    assert motivnet_json.read(path, labels=("class_0", "class_1")).samples[0].label == 1


def test_lists_of_parts_are_read_together(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        write(tmp_path / f"{part}.json", {"0": [f"{part}.jpg"]})
    write(tmp_path / "settings.json", {"version": 1})
    found = motivnet_json.read(tmp_path, labels=EMOTIONS)
    assert {sample.name: sample.split for sample in found.samples} == {
        "train.jpg": "train",
        "val.jpg": "val",
        "test.jpg": "test",
    }


def test_of_other_lists_one_must_be_given(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        write(tmp_path / name, {"0": []})
    with pytest.raises(
        DatasetError,
        match=r"holds several lists \(a.json, b.json\); give one, or call them train.json",
    ):
        motivnet_json.read(tmp_path, labels=EMOTIONS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"8": ["a.jpg"]}', "has the label '8'; it must be a whole number from 0 to 7"),
        ('{"happy": ["a.jpg"]}', "has the label 'happy'; it must be a whole number from 0 to 7"),
        ('{"0": ["a.jpg"], "0": []}', "is not a list such as .*: key .0. appears twice"),
        ('{"0": "a.jpg"}', "Expected `array`, got `str`"),
        ('{"0": [1]}', "Expected `str`, got `int`"),
        ("[]", "Expected `object`, got `array`"),
        ('{"0": ["a', "not JSON: Unterminated string"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "faces.json").write_text(text)
    with pytest.raises(DatasetError, match=message):
        motivnet_json.read(tmp_path / "faces.json", labels=EMOTIONS[:7])


def test_a_json_file_among_class_folders_does_not_make_them_a_list(tmp_path: Path) -> None:
    put_face(tmp_path / "sad" / "1.png")
    write(tmp_path / "metadata.json", {"source": "a camera"})
    assert read_dataset(tmp_path, labels=EMOTIONS).format == "class folders"


def soft(folder: Path, shares: object, *, name: str = "faces.json") -> Path:
    return write(folder / name, {"images": {"a.jpg": shares}})


def test_an_image_can_have_a_distribution_over_the_labels(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        put_face(tmp_path / "images" / name)
    shares = {
        "a": {"surprise": 0.3, "happiness": 0.7},
        "b": {"fear": 1},
        "c": {"anger": 0.5, "sadness": 0.5},
    }
    path = write(
        tmp_path / "lists" / "train.json",
        {"images": {f"../images/{k}.jpg": v for k, v in shares.items()}},
    )
    for given in (path, path.parent):
        read = read_dataset(given, labels=EMOTIONS[:7], allow_outside=True)
        assert read.format == "MotivNet JSON list"
        assert [(s.name, EMOTIONS[s.label], s.distribution) for s in read.samples] == [
            ("../images/a.jpg", "happiness", (0.0, 0.7, 0.0, 0.3, 0.0, 0.0, 0.0)),
            ("../images/b.jpg", "fear", (0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)),
            ("../images/c.jpg", "sadness", (0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.5)),
        ]
        assert {sample.split for sample in read.samples} == ({None} if given == path else {"train"})


def test_rounded_shares_are_scaled_to_a_sum_of_1(tmp_path: Path) -> None:
    [found] = motivnet_json.read(
        soft(tmp_path, {"fear": 0.333, "anger": 0.6665}), labels=EMOTIONS
    ).samples
    assert found.distribution is not None
    assert found.distribution == pytest.approx(
        (0, 0, 0, 0, 0.333 / 0.9995, 0, 0.6665 / 0.9995, 0), abs=1e-12
    )
    assert sum(found.distribution) == pytest.approx(1.0, abs=1e-12)


def test_of_seven_labels_contempt_is_left_out_as_with_votes(tmp_path: Path) -> None:
    images = {
        "a": {"contempt": 0.6, "anger": 0.4},
        "b": {"contempt": 0.2, "anger": 0.6, "fear": 0.2},
    }
    found = motivnet_json.read(write(tmp_path / "a.json", {"images": images}), labels=EMOTIONS[:7])
    assert found.skipped == {"the model has no class contempt": 1}
    assert [sample.name for sample in found.samples] == ["b"]
    assert found.samples[0].distribution == pytest.approx((0, 0, 0, 0, 0.25, 0, 0.75))


def test_labels_of_any_model_can_have_shares(tmp_path: Path) -> None:
    [found] = motivnet_json.read(
        soft(tmp_path, {"wry": 0.75, "calm": 0.25}), labels=("calm", "wry")
    ).samples
    assert (found.label, found.distribution) == (1, (0.25, 0.75))


def test_soft_and_hard_lists_can_be_parts_of_one_set(tmp_path: Path) -> None:
    soft(tmp_path, {"fear": 1.0}, name="train.json")
    write(tmp_path / "test.json", {"4": ["b.jpg"]})
    found = motivnet_json.read(tmp_path, labels=EMOTIONS)
    assert {s.name: (s.split, s.distribution is None) for s in found.samples} == {
        "a.jpg": ("train", False),
        "b.jpg": ("test", True),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"a.jpg": {"joy": 1}}',
            "'a.jpg' in .*faces.json has a share of 'joy'; the labels are neutral, .*contempt$",
        ),
        ('{"a.jpg": {"fear": 1.5, "anger": -0.5}}', "'a.jpg' in .* has a share of anger below 0"),
        (
            '{"a.jpg": {"fear": 0.5, "anger": 0.4}}',
            "'a.jpg' in .* has shares that sum to 0.9; they must sum to 1$",
        ),
        ('{"a.jpg": {"fear": 0.998}}', "sum to 0.998; they must sum to 1$"),
        ('{"a.jpg": {"fear": 1e308, "anger": 1e308}}', "sum to inf; they must sum to 1$"),
        ('{"a.jpg": {}}', "sum to 0; they must sum to 1$"),
        ('{"a\\n.jpg": {}}', r"^'a\\n.jpg' in"),
        (
            '{"a.jpg": {"fear": 1, "fear": 1}}',
            "is not a list such as .*: key 'fear' appears twice$",
        ),
        ('{"a.jpg": {"fear": 1}, "a.jpg": {"anger": 1}}', "key 'a.jpg' appears twice$"),
        ('{"a.jpg": {"fear": NaN}}', "NaN and infinity are not JSON numbers"),
        ('{"a.jpg": {"fear": 1e999}}', "NaN and infinity are not JSON numbers$"),
        ('{"a.jpg": {"fear": "1"}}', "Expected `float`, got `str`$"),
        ('{"a.jpg": [1.0]}', "Expected `object`, got `array`$"),
        ('["a.jpg"]', "Expected `object`, got `array`$"),
        ('{}, "0": ["a.jpg"]', "Object contains unknown field `0`$"),
    ],
)
def test_what_is_no_distribution_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "faces.json").write_text(f'{{"images": {text}}}')
    with pytest.raises(DatasetError, match=message) as caught:
        motivnet_json.read(tmp_path / "faces.json", labels=EMOTIONS[:7])
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    put_face(tmp_path / "b.jpg")
    path = write(tmp_path / "a.json", {"images": {"a.jpg": {"fear": 1}, "b.jpg": {"fear": 1}}})
    read = read_dataset(path, labels=EMOTIONS)
    assert [sample.name for sample in read.samples] == ["b.jpg"]
    assert read.unreadable == {"a.jpg": f"{tmp_path / 'a.jpg'} does not exist"}


def test_a_list_with_a_byte_order_mark_and_paths_of_windows_is_read(tmp_path: Path) -> None:
    put_face(tmp_path / "a" / "1.png")
    (tmp_path / "list.json").write_text(json.dumps({"1": ["a\\1.png"]}), encoding="utf-8-sig")
    for path in (tmp_path, tmp_path / "list.json"):
        read = read_dataset(path, labels=EMOTIONS)
        assert [(sample.label, sample.image) for sample in read.samples] == [
            (1, tmp_path / "a" / "1.png")
        ]
