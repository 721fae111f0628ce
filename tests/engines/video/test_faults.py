"""Faults of video files: each is an error of one line, and no result is silently short."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from motivnet.errors import FileError, MotivNetError, VideoError
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.video import FrameResult, video_source
from motivnet_engines.video.run import predict_video

from .conftest import moving, write_video

CONTAINERS = {
    "mp4": ("clip.mp4", "libx264", {"movflags": "faststart"}),
    "mp4-index-last": ("clip.mp4", "libx264", {}),
    "mp4-fragments": ("clip.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
    "mov-mpeg4": ("clip.mov", "mpeg4", {"movflags": "faststart"}),
    "matroska": ("clip.mkv", "libx264", {}),
    "webm": ("clip.webm", "libvpx", {}),
    "avi": ("clip.avi", "mpeg4", {}),
    "transport-stream": ("clip.ts", "libx264", {}),
    "program-stream": ("clip.mpg", "mpeg2video", {}),
    "flash": ("clip.flv", "libx264", {}),
}


def video_of(kind: str, folder: Path, *, frames: int = 40) -> Path:
    name, codec, options = CONTAINERS[kind]
    return write_video(folder / name, moving(frames), codec=codec, options=options)


def seen(
    path: Path, classifier: EmotionClassifier
) -> tuple[list[FrameResult], MotivNetError | None]:
    """The results, and the error that ended them, which the summary repeats."""
    results: list[FrameResult] = []
    run = None
    ended: MotivNetError | None = None
    try:
        with predict_video(classifier, video_source(path)) as run:
            results.extend(run)
    except MotivNetError as error:
        ended = error
    if ended is not None:
        assert "\n" not in str(ended)
        assert str(path) in str(ended)
    if run is not None:
        assert run.summary.classified == run.summary.decoded == len(results)
        assert (run.summary.complete, run.summary.error) == (
            ended is None,
            None if ended is None else str(ended),
        )
        assert ended is None or isinstance(ended, VideoError)
    return results, ended


def text_file(folder: Path) -> Path:
    path = folder / "notes.mp4"
    path.write_text("This is no video.\n" * 500)
    return path


def zero_bytes(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def folder_named_as_a_video(folder: Path) -> Path:
    path = folder / "folder.mp4"
    path.mkdir()
    return path


def fifo(folder: Path) -> Path:
    path = folder / "pipe.mp4"
    os.mkfifo(path)
    return path


def dangling_link(folder: Path) -> Path:
    path = folder / "link.mp4"
    path.symlink_to(folder / "nothing")
    return path


def picture(kind: str) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        path = folder / f"{kind}.mp4"
        frames = [Image.fromarray(frame) for frame in moving(3)]
        frames[0].save(
            path, kind, **({"save_all": True, "append_images": frames[1:]} if kind == "gif" else {})
        )
        return path

    return made


def sound_alone(folder: Path) -> Path:
    import av

    path = folder / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def absurd_size(folder: Path) -> Path:
    return write_video(folder / "huge.avi", [np.zeros((6000, 7000, 3), np.uint8)], codec="png")


def absurd_side(folder: Path) -> Path:
    return write_video(folder / "long.avi", [np.zeros((16, 17_000, 3), np.uint8)], codec="png")


def header_alone(folder: Path) -> Path:
    data = video_of("mp4", folder).read_bytes()
    path = folder / "header.mp4"
    path.write_bytes(data[: data.index(b"mdat") + 4])
    return path


def noise_in_every_frame(folder: Path) -> Path:
    data = bytearray(video_of("mov-mpeg4", folder).read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = bytes(len(data) - start)
    path = folder / "noise.mov"
    path.write_bytes(data)
    return path


def unknown_codec(folder: Path) -> Path:
    data = video_of("mp4", folder).read_bytes()
    path = folder / "codec.mp4"
    path.write_bytes(data.replace(b"avc1", b"zzz9").replace(b"avcC", b"zzzC"))
    return path


def random_bytes(folder: Path) -> Path:
    path = folder / "random.mp4"
    path.write_bytes(np.random.default_rng(0).bytes(50_000))
    return path


FAULTS: list[tuple[Callable[[Path], Path], type[MotivNetError], str]] = [
    (lambda folder: folder / "missing.mp4", FileError, "does not exist"),
    (folder_named_as_a_video, FileError, "is a directory"),
    (fifo, FileError, "not a regular file"),
    (dangling_link, FileError, "link to a file that does not exist"),
    (zero_bytes, VideoError, "is empty, not a video"),
    (text_file, VideoError, "is not an MP4, .*convert it to MP4"),
    (random_bytes, VideoError, "is not an MP4"),
    (picture("gif"), VideoError, "is a GIF image, not a video; convert it to MP4"),
    (picture("png"), VideoError, "is a PNG image, not a video"),
    (picture("jpeg"), VideoError, "is a JPEG image, not a video"),
    (sound_alone, VideoError, "holds no moving pictures, only audio"),
    (absurd_size, VideoError, "nothing that can be decoded, with at most 40 million pixels"),
    (absurd_side, VideoError, "16,384 pixels per side"),
    (header_alone, VideoError, "holds nothing that can be decoded|cannot be read"),
    (noise_in_every_frame, VideoError, "holds nothing that can be decoded"),
    (unknown_codec, VideoError, "cannot be decoded|holds nothing"),
]


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("make", "kind", "message"), FAULTS, ids=[f"{index:02}" for index in range(len(FAULTS))]
)
def test_a_fault_is_an_error_without_a_result(
    make: Callable[[Path], Path],
    kind: type[MotivNetError],
    message: str,
    tmp_path: Path,
    classifier: EmotionClassifier,
) -> None:
    results, error = seen(make(tmp_path), classifier)
    assert results == []
    assert type(error) is kind
    assert re.search(message, str(error)), error


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_whole_file_of_every_container_is_complete(
    kind: str, tmp_path: Path, classifier: EmotionClassifier
) -> None:
    results, error = seen(video_of(kind, tmp_path), classifier)
    assert error is None
    assert [result.index for result in results] == list(range(40))
    assert all(len(result.faces) == 1 for result in results)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_file_cut_off_anywhere_is_an_error_with_the_results_of_what_there_is(
    kind: str, tmp_path: Path, classifier: EmotionClassifier
) -> None:
    path = video_of(kind, tmp_path)
    data = path.read_bytes()
    partial = 0
    for part in range(1, 21):
        path.write_bytes(data[: len(data) * part // 21])
        results, error = seen(path, classifier)
        # What is cut off at the very end may be nothing but an index.
        assert error is not None or (part == 20 and len(results) == 40), f"{part} of 21 parts"
        partial += bool(results)
    assert partial >= 10 or kind == "mp4-index-last"


def test_a_file_cut_off_says_how_far_it_goes(tmp_path: Path, classifier: EmotionClassifier) -> None:
    path = video_of("mov-mpeg4", tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    results, error = seen(path, classifier)
    assert isinstance(error, VideoError)
    assert f"stops after {len(results)} of 40 frames ({len(results) / 25:.2f} s)" in str(error)


def test_a_missing_index_is_told_from_another_fault(
    tmp_path: Path, classifier: EmotionClassifier
) -> None:
    path = video_of("mp4-index-last", tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    _, error = seen(path, classifier)
    assert "its index is missing, so it is cut off" in str(error)


@pytest.mark.parametrize(
    "kind", ["mp4", "mov-mpeg4", "matroska", "avi", "transport-stream", "program-stream", "flash"]
)
def test_damage_in_the_middle_is_an_error_after_the_results_around_it(
    kind: str, tmp_path: Path, classifier: EmotionClassifier
) -> None:
    path = video_of(kind, tmp_path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = np.random.default_rng(1).bytes(600)
    path.write_bytes(data)
    results, error = seen(path, classifier)
    assert isinstance(error, VideoError)
    assert len(results) > 20


PLAYLISTS = {
    "concatenation": "ffconcat version 1.0\nfile '{target}'\n",
    "playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n",
    "session": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:{target}\n",
    "dash": '<?xml version="1.0"?><MPD type="static" mediaPresentationDuration="PT2S"><Period>'
    '<AdaptationSet><Representation id="1" mimeType="video/mp4"><BaseURL>{target}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
}


@pytest.mark.parametrize("playlist", PLAYLISTS)
@pytest.mark.parametrize("over_http", [False, True])
def test_a_list_that_is_called_mp4_opens_no_other_file_and_no_address(
    playlist: str, over_http: bool, tmp_path: Path, classifier: EmotionClassifier
) -> None:
    asked: list[str] = []

    class Trap(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    target = write_video(tmp_path / "other.ts", moving(5))
    server = HTTPServer(("127.0.0.1", 0), Trap)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        path = tmp_path / "list.mp4"
        address = f"http://127.0.0.1:{server.server_port}/other.ts" if over_http else str(target)
        path.write_text(PLAYLISTS[playlist].format(target=address))
        results, error = seen(path, classifier)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert (results, asked) == ([], [])
    assert re.search("is not an MP4|is a playlist", str(error))
