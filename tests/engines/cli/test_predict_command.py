"""``motivnet predict`` over a real artifact, images and videos, in every format."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from motivnet.images import read_image
from motivnet_engines import cli
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.writers import montage as montage_module


def lines_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_table_has_a_line_per_image(predict, folder: Path, faces: Path) -> None:
    result = predict(faces)
    with EmotionClassifier.open(folder) as classifier:
        expected = classifier.predict(sorted(faces.iterdir()))
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert (result.status, result.err) == (0, "")
    assert lines[0] == "file emotion confidence"
    assert lines[1:] == [
        f"{path} {one.label} {one.confidence:.1%}"
        for path, one in zip(sorted(faces.iterdir()), expected, strict=True)
    ]


def test_json_lines_have_an_object_per_image(predict, faces: Path) -> None:
    result = predict(faces, "--format", "jsonl")
    documents = lines_of(result.out)
    assert [document["file"] for document in documents] == [
        str(path) for path in sorted(faces.iterdir())
    ]
    [face] = documents[0]["faces"]
    assert face["probabilities"][face["label"]] == face["confidence"]
    assert (face["box"], face["score"]) == (None, None)


def test_csv_goes_to_a_file_whole(predict, faces: Path, tmp_path: Path) -> None:
    result = predict(f"{faces}/*.png", "--out", tmp_path / "r.csv")
    assert (result.status, result.out) == (0, "")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))
    assert [row["width"] for row in rows] == ["50", "53", "56"]


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_one_unreadable_image_is_named_and_the_others_are_shown(
    form: str, predict, faces: Path
) -> None:
    (faces / "face 1.png").write_bytes(b"no image")
    result = predict(faces, "--format", form)
    reason = "is not a JPEG, PNG, WebP, BMP, TIFF, AVIF or HEIC image; convert it to one of these"
    assert (result.status, result.err) == (1, f"error: {faces / 'face 1.png'} {reason}\n")
    assert "face 0.png" in result.out
    assert "face 2.png" in result.out
    assert (reason in result.out) is (form != "table")


def test_the_newest_artifact_is_taken(
    folder: Path,
    faces: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "artifacts").mkdir()
    folder.rename(tmp_path / "artifacts" / "newest")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["motivnet", "predict", "faces", "--no-detect"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capfd.readouterr().out.count("face ") == 3


def test_copies_are_annotated_and_originals_kept(predict, faces: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in faces.iterdir()}
    assert predict(faces, "--annotate", tmp_path / "out").status == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in faces.iterdir()
    )
    assert {path: path.read_bytes() for path in faces.iterdir()} == before
    assert (
        read_image(tmp_path / "out" / "face 0.png").shape != read_image(faces / "face 0.png").shape
    )


def test_a_montage_shows_the_faces(predict, faces: Path, tmp_path: Path) -> None:
    assert predict(faces, "--montage", tmp_path / "sheet.png").status == 0
    assert read_image(tmp_path / "sheet.png").shape[1] > 3 * 160


def test_several_sheets_are_told_of(
    predict, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(montage_module, "TILES_OF_A_SHEET", 2)
    result = predict(faces, "--montage", tmp_path / "s.png")
    assert (result.status, result.err.strip()) == (
        0,
        f"the montage has 2 sheets: {tmp_path / 's.png'} and {tmp_path / 's-2.png'}",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is nothing to predict; give images, folders or videos, or --camera 0"),
        ([""], "the name of an image is empty; give a file, or . for the current folder"),
        (["faces", "--annotate", ""], "a path is empty; give its option a name"),
        (["no/*.jpg"], "no/*.jpg fits no file; check the pattern"),
        (["faces", "--annotate", "faces"], "--annotate would replace faces/face 0.png, which is r"),
        (["faces", "--annotate", "notes"], "--annotate notes is a file; give a folder"),
        (["faces", "--annotate", "new.jpg"], "--annotate new.jpg is the name of an image; give a"),
        (["faces", "--annotate", "mine"], "--annotate would replace mine/face 1.png; choose an em"),
        (["faces", "--annotate", "x.mp4"], "--annotate x.mp4 is for one video"),
        (["clip.mp4", "--annotate", "clip.mp4"], "--annotate would replace clip.mp4, which is rea"),
        (["clip.mp4", "--annotate", "x.avi"], "an annotated video ends with .mkv, .mov, .mp4, not"),
        (["faces", "--montage", "x.txt"], "--montage x.txt is to be a picture; its name must end"),
        (["faces", "--timeline", "x.png"], "--timeline shows one video, and there are 0; give one"),
        (["clip.mp4", "--timeline", "x.mp4"], "--timeline x.mp4 is to be a picture; its name must"),
        (["faces", "--embeddings"], "--embeddings has no place in a table; choose --format jsonl"),
        (["faces", "--embeddings", "--format", "csv"], "--embeddings has no place in a csv"),
        (["faces", "--format", "csv", "--out", "mine"], "--out mine is a directory; give the name"),
        (["faces/face 0.png", "--out", "faces/face 0.png", "--format", "csv"], "--out would"),
        (["clip.mp4", "--out", "clip.mp4", "--format", "jsonl"], "--out would replace clip.mp4, w"),
        (["faces", "--montage", "faces/face 1.png"], "--montage would replace faces/face 1.png, w"),
        (["faces", "--montage", "link.png"], "--montage would replace faces/face 2.png, which is"),
        (["faces", "--montage", "hard.png"], "--montage would replace faces/face 2.png, which is"),
        (["mine", "--montage", "mine/x.png"], "--montage would replace mine/x-2.png, which is rea"),
        (["faces", "--montage", "mine/x.png"], "--montage would replace mine/x-2.png; remove it ("),
        (["clips", "--annotate", "x"], "--annotate would write the copies of clips/clip.mov and"),
        (["faces", "--out", "x.csv", "--annotate", "x.csv"], "--out x.csv and --annotate x.csv/f"),
        (["faces", "--out", "x.csv", "--annotate", "./y/../x.csv"], "--out x.csv and --annotate y"),
        (["faces", "--out", "x/face 0.png", "--annotate", "x", "--format", "csv"], "--annotate x/"),
        (["faces", "--out", "x.png", "--montage", "x.png", "--format", "csv"], "--montage x.png a"),
        (["clip.mp4", "--timeline", "x-2.png", "--montage", "x.png"], "--montage x-2.png and --t"),
        (["faces", "--out", "notes/r.csv"], "--out notes/r.csv cannot be written ("),
        (["faces", "--out", "r.csv", "--montage", "/proc/m.png"], "--montage /proc/m.png cannot b"),
        (["faces", "--out", "/dev/null", "--format", "csv"], "--out /dev/null is not a regular fi"),
        (["faces", "--out", "x.txt"], "--out x.txt has none of the suffixes"),
        (
            ["faces", "--adapted-classes", "notes"],
            "notes is not an .npz file; make it with: motivnet adapt",
        ),
        (["faces", "--unknown", "--adapted-classes", "c"], "--unknown does not go with --adapted-"),
        (["faces", "--detector", "x.onnx"], "--no-detect needs no --detector"),
        (["ftp://host/x"], "no stream is read from ftp://"),
        (["faces", "--adapted-classes", "none"], "none"),
    ],
)
def test_a_users_mistake_is_one_line_and_nothing_is_written(
    arguments: list[str],
    message: str,
    predict,
    faces: Path,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(faces.parent)
    Path("notes").write_text("mine")
    Path("mine").mkdir()
    Path("clips").mkdir()
    for name in ("clip.mov", "clip.mov.mp4"):
        shutil.copy("clip.mp4", f"clips/{name}")
    for name in ("face 1.png", "x-2.png"):
        shutil.copy("faces/face 1.png", f"mine/{name}")
    Path("link.png").symlink_to("faces/face 2.png")
    Path("hard.png").hardlink_to("faces/face 2.png")
    before = sorted(path for path in faces.parent.rglob("*") if path.is_file())
    result = predict(*arguments)
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith(f"error: {message}")
    assert result.err.count("\n") == 1
    assert sorted(path for path in faces.parent.rglob("*") if path.is_file()) == before
    assert (Path("notes").read_text(), read_image(Path("link.png")).ndim) == ("mine", 3)


def test_images_and_videos_may_be_mixed(predict, faces: Path, clip: Path, tmp_path: Path) -> None:
    result = predict(clip, faces, "--format", "jsonl", "--every", 2, "--annotate", tmp_path / "out")
    assert result.status == 0
    assert result.err == f"{clip}: 8 frames in 1.60 s (4 classified, 4 skipped)\n"
    documents = lines_of(result.out)
    assert [document.get("frame") for document in documents] == [0, 2, 4, 6, None, None, None, None]
    assert documents[4]["video"]["complete"] is True
    assert (tmp_path / "out" / "clip.mp4").stat().st_size > 1000
    assert (tmp_path / "out" / "faces" / "face 2.png").is_file()


def test_a_video_has_a_timeline_a_montage_and_a_line_per_face(
    predict, clip: Path, tmp_path: Path
) -> None:
    pictures = [tmp_path / "timeline.png", tmp_path / "sheet.png", tmp_path / "drawn.mp4"]
    result = predict(
        clip, "--timeline", pictures[0], "--montage", pictures[1], "--annotate", pictures[2]
    )
    assert result.status == 0
    assert [line.split()[0] for line in result.out.splitlines()] == ["file", str(clip)]
    assert "#1, 0.00 to 1.40 s, 8 frames" in result.out
    assert all(path.is_file() for path in pictures)


def test_a_text_called_mp4_stops_nothing_else(predict, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    result = predict(tmp_path / "text.mp4", faces, "--format", "jsonl")
    documents = lines_of(result.out)
    assert result.status == 1
    assert result.err.startswith(f"error: {tmp_path / 'text.mp4'} is not an MP4")
    assert [document["error"] is None for document in documents] == [False, True, True, True]


def test_a_picture_beyond_max_pixels_names_the_option(predict, faces: Path) -> None:
    result = predict(faces, "--max-pixels", 3_000)
    [error, *_] = lines = result.err.splitlines()
    assert result.status == 1
    assert len(lines) < 3
    assert "exceeds 3,000 pixels or" in error
    assert error.endswith("; make it smaller, or raise --max-pixels")


def test_a_photo_by_another_name_is_predicted_and_copied(
    predict, faces: Path, tmp_path: Path
) -> None:
    photo = Path((faces / "face 0.png").rename(faces / "face.mp4"))
    result = predict(photo, "--annotate", tmp_path / "drawn")
    assert (result.status, result.err) == (0, "")
    assert read_image(tmp_path / "drawn" / "face.mp4.png").ndim == 3


def test_a_video_by_another_name_is_predicted_and_copied(
    predict, clip: Path, tmp_path: Path
) -> None:
    result = predict(clip.rename(tmp_path / "clip"), "--annotate", tmp_path / "drawn")
    assert result.status == 0
    assert (tmp_path / "drawn" / "clip.mp4").stat().st_size > 0


def test_a_camera_that_is_not_there_is_one_line(predict) -> None:
    result = predict("--camera", 63, "--format", "csv")
    assert result.status == 1
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1


def test_no_threads_at_all_are_refused_by_the_option(predict, faces: Path) -> None:
    result = predict(faces, "--threads", 0)
    assert (result.status, result.out) == (2, "")
    assert "--threads" in result.err


def test_nothing_is_opened_where_an_output_cannot_be_written(
    predict, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("the model was opened")

    monkeypatch.setattr(EmotionClassifier, "open", opened)
    assert predict(faces, "--montage", "/proc/m.png").status == 1


def test_named_files_are_replaced(predict, faces: Path, clip: Path, tmp_path: Path) -> None:
    names = ["r.jsonl", "sheet.png", "timeline.png", "drawn.mp4"]
    for name in names:
        (tmp_path / name).write_text("older")
    out, montage, timeline, annotate = (tmp_path / name for name in names)
    result = predict(
        clip, "--out", out, "--montage", montage, "--timeline", timeline, "--annotate", annotate
    )
    assert result.status == 0
    assert [name for name in names if (tmp_path / name).read_bytes() == b"older"] == []


def test_videos_of_a_folder_are_read_too(predict, faces: Path, clip: Path) -> None:
    clip.rename(faces / "clip.mp4")
    (faces / "deeper").mkdir()
    (faces / "face 2.png").rename(faces / "deeper" / "face 2.png")
    documents = lines_of(predict(faces, "--format", "jsonl", "--every", 8).out)
    names = [Path(document["file"]).name for document in documents]
    assert names == ["clip.mp4", "clip.mp4", "face 2.png", "face 0.png", "face 1.png"]


def test_a_folder_of_videos_alone_is_read(predict, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    clip.rename(tmp_path / "videos" / "clip.mp4")
    result = predict(tmp_path / "videos")
    assert (result.status, "8 frames" in result.out) == (0, True)


def test_a_line_tells_the_time_it_took_and_the_embedding_where_asked_for(
    predict, folder: Path, faces: Path
) -> None:
    [document, *_] = lines_of(predict(faces, "--format", "jsonl", "--embeddings").out)
    assert sorted(document["timing"]) == ["classify_ms", "prepare_ms"]
    assert min(document["timing"].values()) > 0
    with EmotionClassifier.open(folder, threads=1) as classifier:
        [expected] = classifier.predict(faces / "face 0.png")
    np.testing.assert_allclose(
        document["faces"][0]["embedding"], expected.embedding, rtol=1e-4, atol=1e-6
    )


@pytest.mark.shared
def test_photos_of_people_run_from_detection_to_pictures(
    predict, shared_dir: Path, tmp_path: Path
) -> None:
    photos = sorted((shared_dir / "data" / "london").glob("00[1-5]*.jpg"))
    Image.fromarray(np.full((300, 300, 3), 128, np.uint8)).save(tmp_path / "grey.png")
    result = predict(
        *photos, tmp_path / "grey.png", "--format", "jsonl",
        "--annotate", tmp_path / "out", "--montage", tmp_path / "sheet.png", detect=True,
    )  # fmt: skip
    assert (result.status, result.err) == (0, "")
    documents = lines_of(result.out)
    assert [len(document["faces"]) for document in documents] == [1] * len(photos) + [0]
    assert all(document["faces"][0]["box"]["width"] > 100 for document in documents[:-1])
    assert (
        len([path for path in (tmp_path / "out").rglob("*") if path.is_file()]) == len(photos) + 1
    )
