import json
import sys
from pathlib import Path

import cv2
import pytest

from motivnet.command_line import make_app, run
from motivnet.images import read_image
from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face
from motivnet_training.datasets_command import datasets


def put_face(path: Path, emotion: str = "neutral", *, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), draw_face(emotion, seed=seed, size=(32, 24)))


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    names = (
        "train/sad/1.png",
        "train/sad/2.png",
        "train/happy/1.png",
        "test/sad/3.png",
        "test/contempt/1.png",
    )
    for seed, name in enumerate(names):
        put_face(tmp_path / "faces" / name, seed=seed)
    (tmp_path / "faces" / "train" / "sad" / "4.png").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)
    return Path("faces")


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    app = make_app("Train.")
    app.command()(datasets)
    monkeypatch.setattr(sys, "argv", ["motivnet-train", "datasets", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        run(app)
    return int(caught.value.code or 0)


def test_layout_and_counts_are_printed_and_what_was_left_out_is_one_line(
    faces: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (faces / ".hidden").touch()
    assert command(monkeypatch, faces) == 0
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    assert ["format", "class", "folders"] in lines
    assert ["images", "4"] in lines
    assert ["class", "train", "test", "images"] in lines
    assert ["sadness", "2", "1", "3"] in lines
    assert ["fear", "0", "0", "0"] in lines
    assert caplog.messages == [
        "faces: left out 1 x the model has no class contempt (test/contempt/1.png), "
        "1 x unreadable image (train/sad/4.png is not a JPEG, PNG, WebP, BMP, TIFF, "
        "AVIF or HEIC image; convert it to one of these), 1 x hidden or of the system"
    ]
    assert "contempt" not in shown
    assert "4.png" not in shown


def test_json_has_every_number(
    faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, faces, "--num-classes", 8, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    counts = {label: {"train": 0, "test": 0} for label in EMOTIONS}
    counts |= {"sadness": {"train": 2, "test": 1}, "happiness": {"train": 1, "test": 0}}
    counts |= {"contempt": {"train": 0, "test": 1}}
    assert result.pop("unreadable").keys() == {"train/sad/4.png"}
    assert result == {
        "dataset": "faces",
        "format": "class folders",
        "images": 5,
        "splits": ["train", "test"],
        "counts": counts,
        "people": 0,
        "voted": 0,
        "skipped": {"unreadable image": 1},
        "duplicates": [],
    }


def test_the_same_image_in_two_parts_is_named(
    faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(12):
        put_face(faces / "train" / "fear" / f"{number:02d}.png", seed=100 + number)
        put_face(faces / "val" / "anger" / f"{number:02d}.png", seed=100 + number)
    put_face(faces / "train" / "fear" / "again.png", seed=100)
    put_face(faces / "val" / "anger" / "again.png", seed=100)
    put_face(faces / "train" / "fear" / "other.png", seed=200)
    assert command(monkeypatch, faces) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["train/fear/00.png", "val/anger/00.png"] in lines
    assert (
        sum(line[-1:] == [f"val/anger/{number:02d}.png"] for line in lines for number in range(12))
        == 10
    )
    assert ["and", "3", "more;", "--json", "lists", "all"] in lines
    assert command(monkeypatch, faces, "--json") == 0
    pairs = [
        [f"train/fear/{number:02d}.png", f"val/anger/{number:02d}.png"] for number in range(12)
    ]
    assert json.loads(capsys.readouterr().out)["duplicates"] == [
        *pairs,
        ["train/fear/again.png", "val/anger/00.png"],
    ]


def test_a_folder_of_unreadable_images_is_shown_all_the_same(
    faces: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(12):
        (faces / "train" / "sad" / f"broken-{number:02d}.png").write_bytes(b"no image")
    assert command(monkeypatch, faces) == 0
    [line] = caplog.messages
    named = ", ".join(f"train/sad/{name}.png" for name in ("4", "broken-00", "broken-01"))
    assert f"13 x unreadable image ({named}, … each is not a JPEG, PNG" in line


def test_people_are_counted_where_names_tell_them(
    faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AF01/AF01ANS.JPG", "BF01/BF01HAS.JPG", "AM02/AM02SUS.JPG"):
        put_face(Path("kdef") / name)
    assert command(monkeypatch, "kdef") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["people", "2"] in lines
    assert ["anger", "1"] in lines


def test_the_sheet_is_written_where_asked(
    faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, faces, "--sheet", "out/sheet.png") == 0
    assert "out/sheet.png" in capsys.readouterr().out
    assert read_image("out/sheet.png").shape[1] > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "error: nowhere is not a folder; give a folder"),
        (["faces", "--sheet", "sheet.jpg"], "error: sheet.jpg must end in .png"),
        (["faces", "--num-classes", "3"], "error: faces holds no image of a known class"),
    ],
)
def test_a_mistake_is_one_line(
    faces: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert command(monkeypatch, *arguments) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(message)
