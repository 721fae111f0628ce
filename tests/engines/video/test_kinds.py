"""Containers by content, pixels that are not square, and what is said of HDR and interlacing."""

from __future__ import annotations

import contextlib
import shutil
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from motivnet.errors import VideoError
from motivnet_engines.cli.predict_sources import find_sources
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.video import VIDEO_SUFFIXES, is_video, video_source
from motivnet_engines.video.decoding import Frame, VideoReader
from motivnet_engines.video.results import FrameResult
from motivnet_engines.video.run import predict_video
from motivnet_engines.writers.annotated_video import annotated_video
from motivnet_engines.writers.drawing import annotated_copies

from .conftest import moving, write_video

KINDS: dict[str, tuple[str, str]] = {
    "clip.wmv": ("wmv2", "asf"),
    "clip.asf": ("msmpeg4", "asf"),
    "clip.ogv": ("libvpx", "ogg"),
    "clip.3g2": ("mpeg4", "3g2"),
    "clip.qt": ("mpeg4", "mov"),
    "clip.f4v": ("libx264", "f4v"),
    "clip.vob": ("mpeg2video", "vob"),
    "clip.mpg": ("mpeg1video", "mpeg"),
    "clip.m2v": ("mpeg2video", "mpeg2video"),
    "clip.mjpeg": ("mjpeg", "mjpeg"),
    "clip.mts": ("libx264", "mpegts"),
    "clip.m2ts": ("libx264", "mpegts"),
    "clip.flv": ("flv", "flv"),
    "clip.avi": ("mpeg4", "avi"),
    "clip.webm": ("libvpx", "webm"),
    "clip.mkv": ("libx264", "matroska"),
}


def read(path: Path) -> tuple[list[Frame], str | None]:
    with VideoReader(video_source(path)) as reader:
        frames = [decoded.to_rgb() for decoded in reader]
        return frames, reader.missing()


@pytest.mark.parametrize("name", KINDS)
def test_a_video_of_this_kind_is_read_from_a_folder_and_by_any_name(
    tmp_path: Path, name: str
) -> None:
    codec, form = KINDS[name]
    folder = tmp_path / "folder"
    folder.mkdir()
    path = write_video(folder / name, moving(8), codec=codec, form=form)
    frames, missing = read(path)
    assert (len(frames), missing) == (8, None)
    assert np.abs(frames[0].pixels.astype(int) - next(iter(moving(1)))).mean() < 20
    with contextlib.ExitStack() as stack:
        assert find_sources([str(folder)], stack=stack).sources == (video_source(path),)
    if codec != "mjpeg":  # begins as a photo does
        unnamed = Path(shutil.copy(path, tmp_path / "unnamed"))
        with contextlib.ExitStack() as stack:
            assert find_sources([str(unnamed)], stack=stack).sources == (video_source(unnamed),)
        assert len(read(unnamed)[0]) == 8


def test_every_suffix_that_a_folder_is_searched_for_has_a_test() -> None:
    usual = {".3gp", ".m4v", ".mov", ".mp4", ".mpeg", ".ts", ".mjpg"}
    assert {Path(name).suffix for name in KINDS} | usual == VIDEO_SUFFIXES


def test_the_content_decides_and_not_the_suffix(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", moving(3))
    photo, text = tmp_path / "photo.mp4", tmp_path / "text.mp4"
    Image.new("RGB", (6, 4)).save(photo, "JPEG")
    text.write_text("neither of both")
    renamed = Path(shutil.copy(clip, tmp_path / "renamed.jpg"))
    expected = {clip: True, photo: False, text: True, renamed: True, tmp_path / "none.jpg": False}
    assert {path: is_video(path) for path in expected} == expected
    names = {path.name for path in annotated_copies(list(expected), tmp_path / "out").values()}
    assert names == {"clip.mp4", "photo.mp4.png", "text.mp4", "renamed.jpg.mp4", "none.jpg"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GIF89a" + bytes(2_000), "is a GIF image, not a video; convert it to MP4"),
        (b"<!DOCTYPE html><title>404</title>", "is a web page, not a video"),
        (b"#EXTM3U\nother.ts\n", "is a playlist, not a video; give a video that it"),
        (b".RMF\0\0\0\x12" + bytes(2_000), "is a RealMedia file, not a video"),
        (b"\x1a\x45\xdf\xa3" + bytes(2_000), "is a Matroska or WebM video that is damaged"),
    ],
)
def test_what_is_not_read_is_refused_by_its_name(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=message):
        read(path)


def squeezed(factor: int) -> list[np.ndarray]:
    """Pictures of a red square of 32 pixels, stored with a part of their columns."""
    return [cv2.resize(picture, (160 // factor, 120)) for picture in moving(4)]


def taller(factor: int) -> list[np.ndarray]:
    return [cv2.resize(picture, (160, 120 // factor)) for picture in moving(4)]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
def test_pixels_that_are_not_square_are_made_square(
    tmp_path: Path, name: str, classifier: EmotionClassifier
) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    wide = write_video(tmp_path / name, squeezed(2), codec=codec, aspect=Fraction(2))
    tall = write_video(tmp_path / f"tall-{name}", taller(2), codec=codec, aspect=Fraction(1, 2))
    for path in (wide, tall):
        with predict_video(classifier, video_source(path)) as run:
            first = next(run)
        box = first.faces[0].prediction.box
        assert box is not None
        assert (first.width, first.height) == (160, 120)
        assert box.width == pytest.approx(32, abs=4)
        assert box.height == pytest.approx(32, abs=4)


def test_the_annotated_copy_has_square_pixels_too(
    tmp_path: Path, classifier: EmotionClassifier
) -> None:
    path = write_video(tmp_path / "clip.mp4", squeezed(2), aspect=Fraction(2))
    with annotated_video(tmp_path / "copy.mp4") as draw:
        results: list[FrameResult] = list(
            predict_video(classifier, video_source(path), on_frame=draw)
        )
    frames, _ = read(tmp_path / "copy.mp4")
    assert len(frames) == len(results) == 4
    assert frames[0].pixels.shape == (120, 160, 3)


def test_a_turned_video_is_made_square_before_it_is_turned(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", squeezed(2), aspect=Fraction(2), matrix=(0, 1, -1, 0))
    assert read(path)[0][0].pixels.shape == (160, 120, 3)


def test_pixels_that_are_square_stay_as_they_are(tmp_path: Path) -> None:
    plain = write_video(tmp_path / "plain.mkv", moving(3))
    square = write_video(tmp_path / "square.mkv", moving(3), aspect=Fraction(1))
    for one, other in zip(read(plain)[0], read(square)[0], strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_a_frame_that_would_become_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "clip.mp4", moving(2), aspect=Fraction(2))
    monkeypatch.setattr("motivnet_engines.video.opening.MAX_SIDE", 200)
    with pytest.raises(VideoError, match=r"\(320 x 120 pixels\) exceeds .* 200 pixels"):
        read(path)


def hdr_video(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=25, options={"x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p10le"
        stream.codec_context.color_trc, stream.codec_context.color_primaries = 16, 9
        stream.codec_context.colorspace = 9
        for picture in moving(3):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def interlaced_video(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        options = {"flags": "+ildct+ilme", "field_order": "tt"}
        stream = container.add_stream("mpeg2video", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for picture in moving(3):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [(hdr_video, "is HDR video (PQ)"), (interlaced_video, "is interlaced")],
)
def test_what_the_network_cannot_see_rightly_is_told_once(
    tmp_path: Path, make: object, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = make(tmp_path / "clip.mkv")  # type: ignore[operator]
    frames, missing = read(path)
    assert (len(frames), missing) == (3, None)
    [record] = caplog.records
    assert record.getMessage().startswith(f"{path} {message}")


def test_ten_bits_are_read_as_eight(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p10le"
        for picture in moving(1):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    [frame], _ = read(path)
    assert np.abs(frame.pixels.astype(int) - next(iter(moving(1)))).mean() < 12
    assert not caplog.records
