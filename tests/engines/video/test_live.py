"""What does not wait for its reader: files in real time, cameras, and streams without an end."""

from __future__ import annotations

import collections
import itertools
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import cv2
import pytest

from motivnet.errors import VideoError
from motivnet.prediction import Prediction
from motivnet_engines.cli.predict_files import Pictures
from motivnet_engines.cli.predict_run import PredictRun
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.video import FrameResult, VideoSource, camera, decoding, video_source
from motivnet_engines.video.decoding import Frame, VideoReader
from motivnet_engines.video.run import predict_video
from motivnet_engines.writers.records import Record

from .conftest import FastClock, moving, write_video
from .servers import Answer, http_server, sends


class Gate:
    """Makes the first call of a classifier wait until ``open``."""

    def __init__(self, classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
        self.event = threading.Event()
        classify = classifier.classify

        def wait_and_classify(inputs: Any) -> list[Prediction]:
            assert self.event.wait(20)
            return classify(inputs)

        monkeypatch.setattr(classifier, "classify", wait_and_classify)

    def open(self) -> None:
        self.event.set()


@pytest.fixture
def gate(classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(classifier, monkeypatch)


@pytest.fixture
def in_step(
    classifier: EmotionClassifier, clock: FastClock, monkeypatch: pytest.MonkeyPatch
) -> FastClock:
    """A clock on which every frame is classified before the next one is due."""
    frames, classify = collections.Counter[str](), classifier.classify

    def classify_and_count(inputs: Any) -> list[Prediction]:
        frames["classified"] += 1
        return classify(inputs)

    monkeypatch.setattr(classifier, "classify", classify_and_count)
    clock.before_sleep = lambda seconds: frames.update(["decoded"])
    clock.is_due = lambda: frames["decoded"] <= frames["classified"] + 1
    return clock


def test_late_frames_are_dropped_and_counted_in_real_time(
    tmp_path: Path, classifier: EmotionClassifier, clock: FastClock, gate: Gate
) -> None:
    path = write_video(tmp_path / "second.mp4", moving(25))
    clock.before_sleep = lambda seconds: gate.open() if clock.time > 0.5 else None
    with predict_video(classifier, video_source(path), realtime=True, every=2) as run:
        indices = [result.index for result in run]
    summary = run.summary
    assert summary.dropped >= 3
    assert summary.decoded == 25 == summary.classified + summary.skipped + summary.dropped
    assert summary.skipped == 12
    assert summary.classified == len(indices)
    assert indices == sorted(set(indices))
    assert all(index % 2 == 0 for index in indices)
    assert summary.complete


def test_a_fast_runtime_drops_nothing_in_real_time_and_waits_for_the_clock(
    tmp_path: Path, classifier: EmotionClassifier, in_step: FastClock
) -> None:
    path = write_video(tmp_path / "slow.mp4", moving(8), rate=8)
    with predict_video(classifier, video_source(path), realtime=True) as run:
        assert [result.index for result in run] == list(range(8))
    assert in_step.time == pytest.approx(7 / 8)
    assert run.summary.dropped == 0


def camera_over_http(handler: BaseHTTPRequestHandler) -> None:
    """JPEG pictures, as simple network cameras send them."""
    handler.send_response(200)
    handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
    handler.end_headers()
    for picture in moving(100):
        data = cv2.imencode(".jpg", picture[:, :, ::-1])[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        handler.wfile.write(head.encode() + data + b"\r\n")


@pytest.fixture
def http_camera() -> Iterator[VideoSource]:
    with http_server(camera_over_http) as port:
        yield video_source(f"http://127.0.0.1:{port}/video")


def test_late_frames_of_a_camera_over_http_are_dropped(
    http_camera: VideoSource, classifier: EmotionClassifier, clock: FastClock, gate: Gate
) -> None:
    frames = itertools.count()
    clock.before_sleep = lambda seconds: gate.open() if next(frames) == 50 else None
    with predict_video(classifier, http_camera) as run:
        results = [next(run) for _ in range(7)]
    assert [len(result.faces) for result in results] == [1] * 7
    assert results[-1].index > 40
    summary = run.summary
    assert summary.dropped > 0
    assert summary.decoded == summary.classified + summary.dropped
    assert (summary.complete, summary.error) == (True, None)


def test_the_frames_of_a_camera_over_http_have_the_times_at_which_they_came(
    http_camera: VideoSource,
    classifier: EmotionClassifier,
    in_step: FastClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(decoding, "monotonic", lambda: 0.1 * next(ticks))
    with predict_video(classifier, http_camera) as run:
        last = [next(run) for _ in range(8)][-1]
    assert (last.index, last.time) == (7, pytest.approx(0.7))  # FFmpeg would say 25 per second


def test_ctrl_c_is_a_good_end_of_a_camera_over_http(
    http_camera: VideoSource, classifier: EmotionClassifier
) -> None:
    def interrupts(frame: Frame, _: FrameResult | None) -> None:
        if frame.index >= 2:
            raise KeyboardInterrupt

    run = predict_video(classifier, http_camera, on_frame=interrupts)
    with pytest.raises(KeyboardInterrupt), run:
        list(run)
    assert (run.summary.complete, run.summary.error) == (True, None)


def test_ctrl_c_is_a_good_end_of_the_command_over_a_camera_over_http(
    http_camera: VideoSource, classifier: EmotionClassifier
) -> None:
    records: list[Record] = []

    def interrupts(record: Record) -> None:
        records.append(record)
        if len(records) == 2:
            raise KeyboardInterrupt

    sources = [http_camera]
    run = PredictRun(classifier, sources, Pictures(), record=interrupts, advance=lambda _: None)
    run.run()
    assert run.errors == []
    assert [record.video is not None and record.video.complete for record in records] == [
        False,
        False,
        True,
    ]


def sends_without_length(body: bytes) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.6,\nclip.ts\n"


def plays(segment: bytes, playlist: str, handler: BaseHTTPRequestHandler) -> None:
    sends(playlist.encode() if handler.path.endswith("m3u8") else segment)(handler)


@pytest.mark.parametrize(
    ("name", "has_length", "live"),
    [
        ("clip.ts", True, False),
        ("clip.ts", False, True),
        ("clip.mkv", True, False),
        ("clip.mkv", False, False),
    ],
)
def test_over_http_what_has_neither_a_duration_nor_a_length_is_live(
    name: str, has_length: bool, live: bool, tmp_path: Path
) -> None:
    data = write_video(tmp_path / name, moving(20)).read_bytes()
    answer = sends(data) if has_length else sends_without_length(data)
    with (
        http_server(answer) as port,
        VideoReader(video_source(f"http://127.0.0.1:{port}/{name}")) as reader,
    ):
        assert reader.live is live


@pytest.mark.parametrize(("end", "live"), [("#EXT-X-ENDLIST\n", False), ("", True)])
def test_a_playlist_without_its_end_is_live(end: str, live: bool, tmp_path: Path) -> None:
    segment = write_video(tmp_path / "clip.ts", moving(40)).read_bytes()
    with (
        http_server(partial(plays, segment, PLAYLIST + end)) as port,
        VideoReader(video_source(f"http://127.0.0.1:{port}/live.m3u8")) as reader,
    ):
        assert reader.live is live


def test_frames_of_a_live_playlist_that_come_together_are_shown_at_their_times(
    tmp_path: Path, classifier: EmotionClassifier, in_step: FastClock
) -> None:
    segment = write_video(tmp_path / "clip.ts", moving(40)).read_bytes()
    with (
        http_server(partial(plays, segment, PLAYLIST)) as port,
        predict_video(classifier, video_source(f"http://127.0.0.1:{port}/live.m3u8")) as run,
    ):
        results = [next(run) for _ in range(10)]
        assert in_step.time >= results[-1].time > 0
    assert [result.index for result in results] == list(range(10))
    assert run.summary.complete


def test_a_camera_that_is_not_there_says_so(classifier: EmotionClassifier) -> None:
    if Path("/dev/video63").exists():
        pytest.skip("there is such a camera")
    with pytest.raises(
        VideoError, match=r"there is no camera 63 \(/dev/video63\); (none is connected|there are)"
    ):
        predict_video(classifier, camera(63))


def test_a_device_that_is_no_camera_is_an_error_of_one_line(classifier: EmotionClassifier) -> None:
    source = VideoSource(kind="camera", target="/dev/null", name="camera 0")
    with pytest.raises(VideoError, match=r"camera 0 \(/dev/null\) cannot be opened: "):
        predict_video(classifier, source)
