"""What ``motivnet predict`` reads: addresses, standard input, links, and what may not be read."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from PIL import Image

from motivnet.images import USER_LIMITS, read_image
from motivnet_engines.inference.classifier import EmotionClassifier

from ..video.servers import http_server, sends

Permissions = Callable[[], AbstractContextManager[None]]


def documents(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def server(faces: Path, clip: Path) -> Iterator[str]:
    """The address of a server with pictures under several names, a page, and a video."""
    picture = (faces / "face 0.png").read_bytes()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.split("?")[0]
        if path in ("/a.png", "/1/photo.png", "/2/photo.png", "/photo"):
            sends(picture)(handler)
        elif path == "/page.png":
            sends(b"<!doctype html>")(handler)
        elif path in ("/clip", "/clip.mp4"):
            sends(clip.read_bytes())(handler)
        else:
            handler.send_error(404)

    with http_server(answer) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """A function that puts bytes on standard input."""
    return lambda data: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_pictures_from_addresses_are_predicted_among_files(
    predict, faces: Path, folder: Path, server: str
) -> None:
    file = faces / "face 1.png"
    urls = [f"{server}/a.png", f"{server}/photo?id=3&token=s"]
    result = predict(urls[0], file, urls[1], "--format", "jsonl")
    with EmotionClassifier.open(folder) as classifier:
        first, second = classifier.predict([faces / "face 0.png", file])
    found = documents(result.out)
    assert (result.status, result.err) == (0, "")
    assert [one["file"] for one in found] == [
        urls[0],
        str(file),
        f"{server}/photo?id=3&token=...",
    ]
    assert [one["faces"][0]["confidence"] for one in found] == [
        first.confidence,
        second.confidence,
        first.confidence,
    ]


def test_an_address_that_cannot_be_read_stops_no_other(
    predict, faces: Path, server: str, tmp_path: Path
) -> None:
    file = faces / "face 1.png"
    urls = [
        f"{server}/none.png",
        f"{server}/none",
        f"{server}/page.png",
        "http://me:pw@127.0.0.1:9/x",
    ]
    result = predict(*urls, file, f"{server}/a.png", "--out", tmp_path / "results.jsonl")
    found = documents((tmp_path / "results.jsonl").read_text())
    errors = [
        f"{urls[0]} cannot be read: the server answers 404 Not Found",
        f"{urls[1]} cannot be read: the server answers 404 Not Found",
        f"{urls[2]} is a web page, not a picture; give the address of the picture itself",
        "http://127.0.0.1:9/x cannot be read: Connection refused",
    ]
    assert result.status == 1
    assert result.err.splitlines() == [f"error: {error}" for error in errors]
    assert [one["error"] for one in found] == [*errors, None, None]


def test_a_video_at_an_address_without_a_suffix_is_one(predict, server: str) -> None:
    found = documents(predict(f"{server}/clip", f"{server}/a.png", "--format", "jsonl").out)
    assert [one["file"] for one in found[-2:]] == [f"{server}/clip", f"{server}/a.png"]
    assert found[-2]["video"]["complete"]


def test_copies_of_what_was_fetched_have_plain_names(
    predict, faces: Path, given, server: str, tmp_path: Path
) -> None:
    given((faces / "face 2.png").read_bytes())
    names = ("1/photo.png", "2/photo.png", "photo", "clip")
    result = predict(
        *(f"{server}/{name}" for name in names),
        *("-", faces / "face 0.png", "--annotate", tmp_path / "out"),
        *("--montage", tmp_path / "sheet.png"),
    )
    assert result.status == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "face 0.png",
        "photo-2.png",
        "photo-3.png",
        "photo.png",
        "stdin.png",
        "stream-1.mp4",
    ]
    pictures = [read_image(tmp_path / "out" / name) for name in ("photo.png", "photo-2.png")]
    assert (pictures[0] == pictures[1]).all()
    assert (tmp_path / "sheet.png").is_file()


def test_nothing_that_was_fetched_is_left(
    predict, faces: Path, given, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    given((faces / "face 0.png").read_bytes())
    assert predict("-", f"{server}/photo", f"{server}/none.png").status == 1
    assert list((tmp_path / "temporary").iterdir()) == []


def test_standard_input_is_a_picture(predict, faces: Path, given) -> None:
    given((faces / "face 0.png").read_bytes())
    found = documents(predict("-", faces / "face 0.png", "--format", "jsonl").out)
    assert [one["file"] for one in found] == ["standard input", str(faces / "face 0.png")]
    assert found[0]["faces"] == found[1]["faces"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "standard input is empty, not an image"),
        (b"text", "standard input is not a JPEG, PNG, "),
        (
            bytes(100_001),
            "standard input has more than the 100,000 bytes allowed; make it smaller, ",
        ),
        (b"FLV\1", "standard input is a Flash video; give a video as a file"),
    ],
)
def test_what_is_no_picture_on_standard_input_stops_no_other(
    data: bytes, reason: str, predict, faces: Path, given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motivnet.images.USER_LIMITS", replace(USER_LIMITS, max_bytes=100_000))
    given(data)
    result = predict("-", faces / "face 0.png", "--max-pixels", 100_000)
    assert result.status == 1
    assert result.err.startswith(f"error: {reason}")
    assert "face 0.png" in result.out


@pytest.mark.parametrize("where", ["-", "photo", "a.png"])
def test_max_pixels_is_for_what_is_fetched_too(
    where: str, predict, faces: Path, given, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = (faces / "face 0.png").read_bytes()
    monkeypatch.setattr("motivnet.images.USER_LIMITS", replace(USER_LIMITS, max_bytes=100))
    for limit, status in ((len(picture) - 1, 1), (1 << 20, 0)):
        given(picture)
        source = where if where == "-" else f"{server}/{where}"
        result = predict(source, "--max-pixels", limit)
        assert (result.status, "bytes allowed" in result.err) == (status, status == 1)


def test_an_address_of_something_else_says_what_that_is(predict) -> None:
    with http_server(sends(b"PK\3\4" + bytes(5_000))) as port:
        result = predict(f"http://127.0.0.1:{port}/np.pth")
    assert (result.status, result.err) == (
        1,
        f"error: http://127.0.0.1:{port}/np.pth is a ZIP archive, which is not read; convert it to "
        "JPEG or PNG\n",
    )


def test_a_missing_camera_is_told_before_anything_is_read(
    predict, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EmotionClassifier, "open", None)  # is not called
    result = predict(faces, "--camera", 63)
    assert (result.status, result.err) == (
        1,
        "error: there is no camera 63 (/dev/video63); connect it, or name another\n",
    )


def test_a_folder_in_a_pattern_that_may_not_be_read_stops_no_other(
    predict, faces: Path, folder: Path, public_folder: Path, permissions: Permissions
) -> None:
    shutil.copytree(folder, public_folder / "artifact")
    photo = shutil.copy(faces / "face 0.png", public_folder / "a.png")
    (public_folder / "locked").mkdir(mode=0)
    with permissions():
        result = predict(
            "--artifact", public_folder / "artifact", public_folder / "locked" / "*.png", photo
        )
    locked = public_folder / "locked"
    assert (result.status, result.err) == (
        1,
        f"error: {locked} cannot be read: Permission denied\n",
    )
    assert "a.png" in result.out


def test_a_scan_is_predicted_and_its_copy_is_a_png(predict, faces: Path, tmp_path: Path) -> None:
    with Image.open(faces / "face 0.png") as picture:
        picture.save(tmp_path / "scan.tif")
    result = predict(tmp_path / "scan.tif", faces / "face 0.png", "--format", "jsonl")
    assert result.status == 0
    scan, photo = documents(result.out)
    assert scan["faces"] == photo["faces"]
    assert predict(tmp_path / "scan.tif", "--annotate", tmp_path / "out").status == 0
    assert (tmp_path / "out" / "scan.tif.png").is_file()


@pytest.mark.parametrize("option", ["--out", "--annotate", "--montage"])
def test_an_output_where_nobody_may_look_names_its_option(
    option: str, predict, faces: Path, folder: Path, public_folder: Path, permissions: Permissions
) -> None:
    shutil.copytree(folder, public_folder / "artifact")
    photos = shutil.copytree(faces, public_folder / "photos")
    (public_folder / "locked").mkdir(mode=0)
    name = {"--out": "o.csv", "--annotate": "o", "--montage": "o.png"}[option]
    output = public_folder / "locked" / name
    with permissions():
        result = predict("--artifact", public_folder / "artifact", photos, option, output)
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith(f"error: {option} {output}")
    assert " cannot be written" in result.err
    assert "Permission denied" in result.err
    assert result.err.endswith("; choose another place\n")


def test_standard_input_that_is_closed_is_told(predict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    result = predict("-")
    assert (result.status, result.out) == (1, "")
    assert result.err == "error: standard input is empty, not an image\n"


def test_no_other_scheme_is_opened(predict, faces: Path) -> None:
    result = predict(f"file://{faces}/face 0.png")
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("error: no stream is read from file://; give one of")


def test_what_is_left_out_of_a_folder_is_one_line_and_no_error(predict, faces: Path) -> None:
    for name in ("notes.txt", "more.txt", ".hidden"):
        (faces / name).touch()
    (faces / "old").symlink_to("nowhere")
    (faces / "face 0.png").rename(faces / "face 0.JFIF")
    result = predict(faces)
    assert result.status == 0
    assert result.err == (
        f"warning: {faces}: left out 1 x link to nothing (old), 2 x not named as an image or video "
        "(more.txt, notes.txt), 1 x hidden or of the system\n"
    )
    assert result.out.count("face ") == 3


def test_a_photo_that_is_given_twice_is_read_once(
    predict, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(faces.parent)
    (faces.parent / "linked").symlink_to("faces")
    names = ["faces/face 1.png", faces / "face 1.png", "linked/face 1.png", "faces/../faces"]
    result = predict(*names, "faces/face 1.png", "--format", "jsonl")
    assert [one["file"] for one in documents(result.out)] == [
        "faces/face 1.png",
        "faces/../faces/face 0.png",
        "faces/../faces/face 2.png",
    ]
    assert result.err == "warning: 4 given more than once: each file is read once\n"


def test_what_may_not_be_read_is_an_error_and_stops_no_other(
    predict, faces: Path, folder: Path, public_folder: Path, permissions: Permissions
) -> None:
    photos = shutil.copytree(faces, public_folder / "photos")
    shutil.copytree(folder, public_folder / "artifact")
    (photos / "closed").mkdir(mode=0)
    (photos / "face 1.png").chmod(0)
    (photos / "face 2.png").unlink()
    (photos / "face 2.png").symlink_to("nowhere")
    with permissions():
        result = predict(
            "--artifact", public_folder / "artifact", photos, photos / "closed" / "x.png"
        )
    assert result.status == 1
    assert result.err.splitlines() == [
        f"error: {photos / 'closed'} cannot be read: Permission denied",
        f"error: {photos / 'face 1.png'} cannot be opened: Permission denied",
        f"error: {photos / 'face 2.png'} is a link to a file that does not exist",
        f"error: {photos / 'closed' / 'x.png'} cannot be opened: Permission denied",
    ]
    assert "face 0.png" in result.out


@pytest.mark.parametrize("name", ["a" * 300, "loop", "loop/x.png", "nowhere.png"])
def test_a_path_that_cannot_be_opened_stops_no_other(name: str, predict, faces: Path) -> None:
    (faces.parent / "loop").symlink_to("loop")
    result = predict(faces.parent / name, faces)
    assert result.status == 1
    assert result.err.count("\n") == 1
    assert result.err.startswith(f"error: {faces.parent / name} ")
    assert result.out.count("face ") == 3


def test_wrong_names_alone_are_told_before_the_artifact_is_opened(
    predict, folder: Path, tmp_path: Path
) -> None:
    (folder / "manifest.json").unlink()
    result = predict(tmp_path / "a.png", tmp_path / ("b" * 300))
    assert (result.status, result.out) == (1, "")
    assert result.err == (
        f"error: {tmp_path / 'a.png'} does not exist; check its name; "
        f"{tmp_path / ('b' * 300)} cannot be read: File name too long\n"
    )


@pytest.mark.parametrize("option", ["--detector", "--adapted-classes"])
def test_a_wrong_name_of_an_option_is_told_before_the_model_is_opened(
    option: str, predict, faces: Path, folder: Path
) -> None:
    (folder / "model.onnx").unlink()
    result = predict(faces, option, "nowhere", detect=True)
    assert (result.status, result.err) == (1, "error: nowhere does not exist\n")
