"""What is a video, a stream and a camera, without opening any."""

from __future__ import annotations

from pathlib import Path

import pytest

from motivnet.errors import ConfigError
from motivnet_engines.video import camera, is_video, video_source


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.mp4", True),
        ("A.MOV", True),
        (Path("folder/clip.webm"), True),
        ("rtsp://host/live", True),
        ("HTTPS://host/live.m3u8", True),
        ("a.jpg", False),
        ("mp4", False),
        ("folder", False),
        ("ftp://host/a.mp4", False),
        (Path("http://host/photo.jpg"), False),
    ],
)
def test_a_video_is_known_by_its_suffix_or_scheme(path: Path | str, expected: bool) -> None:
    assert is_video(path) is expected


def test_a_path_is_a_file_and_an_address_a_stream() -> None:
    assert video_source(Path("a.mp4")).kind == video_source("a:b|c.mp4").kind == "file"
    assert video_source("https://host/a.mp4").kind == "stream"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("rtsp://user:secret@cam.lan:554/live?token=secret", "rtsp://cam.lan:554/live"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
    ],
)
def test_the_name_of_a_stream_shows_no_password(url: str, name: str) -> None:
    source = video_source(url)
    assert source.name == name
    assert source.target == url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/a.mp4", "no stream is read from ftp"),
        ("concat://a|b", "no stream is read from concat"),
        ("file:///etc/passwd", "no stream is read from file"),
        ("http://", "has a host"),
        ("http://host:99999/", "valid port"),
    ],
)
def test_an_address_of_no_stream_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        video_source(url)


def test_a_camera_and_rtsp_push_their_frames_and_a_file_and_http_do_not() -> None:
    assert camera(0).pushed
    assert video_source("RTSP://host/").pushed
    assert not video_source("http://host/a.mp4").pushed
    assert not video_source(Path("a.mp4")).pushed


@pytest.mark.parametrize(("platform", "target"), [("linux", "/dev/video2"), ("darwin", "2:none")])
def test_a_camera_is_named_as_the_platform_does(
    platform: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    assert camera(2).target == target


@pytest.mark.parametrize("number", [-1, 64])
def test_a_number_that_is_no_cameras_is_refused(number: int) -> None:
    with pytest.raises(ConfigError, match="from 0 to 63"):
        camera(number)


def test_a_platform_without_cameras_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "sunos")
    with pytest.raises(ConfigError, match="cameras are not read on sunos"):
        camera(0)
