"""The pipeline: every frame accounted for, in order, and no thread left behind."""

from __future__ import annotations

import gc
import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motivnet.errors import ArtifactError, ConfigError, FileError
from motivnet.prediction import UNKNOWN, Prediction
from motivnet_engines.classifier import EmotionClassifier
from motivnet_engines.fake import FakeRuntime, fake_manifest
from motivnet_engines.video import FrameResult, VideoError, VideoSource, camera, video_source
from motivnet_engines.video.decoding import Frame
from motivnet_engines.video.results import with_probabilities
from motivnet_engines.video.run import predict_video

from .conftest import SquareDetector, moving, squares, talking, write_video


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    gc.collect()
    deadline = time.monotonic() + 5
    while (left := our_threads()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == []


def our_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("motivnet-")]


def slow(classifier: EmotionClassifier, seconds: float) -> EmotionClassifier:
    classify = classifier.classify

    def slowly(inputs: Any) -> list[Prediction]:
        time.sleep(seconds)
        return classify(inputs)

    classifier.classify = slowly  # type: ignore[method-assign]
    return classifier


def test_every_frame_has_a_result_in_order_with_its_face(clip: Path, classifier: EmotionClassifier) -> None:
    with predict_video(classifier, video_source(clip)) as run:
        results = list(run)
    assert [result.index for result in results] == list(range(50))
    assert [result.time for result in results] == pytest.approx([index / 25 for index in range(50)])
    for result in results:
        [face] = result.faces
        assert face.track == 1
        assert face.prediction.box is not None
        assert face.prediction.box.x == pytest.approx(10 + result.index, abs=3)
        assert (result.width, result.height, result.name) == (160, 120, str(clip))
    summary = run.summary
    assert (summary.decoded, summary.classified, summary.skipped, summary.dropped) == (50, 50, 0, 0)
    assert (summary.complete, summary.error, summary.damaged) == (True, None, 0)
    assert summary.duration == run.duration == pytest.approx(2.0)


def test_the_results_are_those_of_each_frame_alone(clip: Path, classifier: EmotionClassifier) -> None:
    frames: list[Frame] = []
    with predict_video(classifier, video_source(clip), on_frame=lambda frame, _: frames.append(frame)) as run:
        results = list(run)
    for frame, result in zip(frames, results, strict=True):
        [alone] = classifier.read(frame.pixels)
        assert [face.prediction for face in result.faces] == list(alone.faces)


@pytest.mark.parametrize("every", [1, 2, 3, 7, 100])
def test_every_nth_frame_is_classified_and_the_others_counted(
    every: int, clip: Path, classifier: EmotionClassifier
) -> None:
    with predict_video(classifier, video_source(clip), every=every) as run:
        assert [result.index for result in run] == list(range(0, 50, every))
    summary = run.summary
    assert summary.decoded == 50 == summary.classified + summary.skipped
    assert summary.complete


def test_a_frame_without_a_face_is_a_result(tmp_path: Path, classifier: EmotionClassifier) -> None:
    path = write_video(tmp_path / "empty.mp4", squares(20, lambda index: None if 5 <= index < 10 else (20, 20)))
    with predict_video(classifier, video_source(path)) as run:
        faces = [len(result.faces) for result in run]
    assert faces == [1] * 5 + [0] * 5 + [1] * 10


def test_two_faces_keep_their_tracks(tmp_path: Path, classifier: EmotionClassifier) -> None:
    pictures = squares(40, lambda index: (5 + 2 * index, 10), lambda index: (100 - 2 * index, 70))
    path = write_video(tmp_path / "two.mp4", pictures)
    with predict_video(classifier, video_source(path)) as run:
        for result in run:
            # The detector finds the red square first, and it is at the top.
            boxes = [face.prediction.box for face in result.faces]
            assert [face.track for face in result.faces] == [1, 2]
            assert boxes[0] is not None
            assert boxes[0].y < 40


def test_a_video_of_a_drawn_face_without_a_detector_is_one_track(tmp_path: Path) -> None:
    manifest = fake_manifest()
    classifier = EmotionClassifier(FakeRuntime(manifest), manifest)
    path = write_video(tmp_path / "talking.mkv", talking(30))
    with predict_video(classifier, video_source(path), smooth=0.2) as run:
        results = list(run)
    assert {face.track for result in results for face in result.faces} == {1}
    assert len({result.faces[0].prediction.confidence for result in results}) > 20


def test_smoothing_follows_the_times_of_the_frames(tmp_path: Path, classifier: EmotionClassifier) -> None:
    path = write_video(tmp_path / "variable.mp4", moving(6), times=[0.0, 0.1, 0.15, 0.7, 0.8, 0.81])
    with predict_video(classifier, video_source(path)) as run:
        raw = list(run)
    with predict_video(classifier, video_source(path), smooth=0.3) as run:
        smooth = list(run)
    expected = np.array(list(raw[0].faces[0].prediction.probabilities.values()))
    for before, one, other in zip([raw[0], *raw], raw, smooth, strict=False):
        weight = 1 - np.exp(-(one.time - before.time) / 0.3)
        expected += weight * (np.array(list(one.faces[0].prediction.probabilities.values())) - expected)
        found = other.faces[0].prediction
        assert list(found.probabilities.values()) == pytest.approx(list(expected))
        assert found.confidence == max(found.probabilities.values())
        assert found.label == max(found.probabilities, key=found.probabilities.__getitem__)


def test_an_unknown_face_stays_unknown_when_it_is_smoothed() -> None:
    face = Prediction(label=UNKNOWN, confidence=0.9, probabilities={"a": 0.9, "b": 0.1}, energy=0.0, known=False)
    smoothed = with_probabilities(face, {"a": 0.4, "b": 0.6})
    assert (smoothed.label, smoothed.confidence) == (UNKNOWN, 0.6)


def test_late_frames_are_dropped_and_counted_in_real_time(clip: Path, classifier: EmotionClassifier) -> None:
    start = time.monotonic()
    with predict_video(slow(classifier, 0.2), video_source(clip), realtime=True, every=2) as run:
        indices = [result.index for result in run]
    summary = run.summary
    assert summary.dropped > 0
    assert summary.decoded == 50 == summary.classified + summary.skipped + summary.dropped
    assert summary.skipped == 25
    assert summary.classified == len(indices)
    assert indices == sorted(set(indices))
    assert all(index % 2 == 0 for index in indices)
    assert summary.complete
    assert 1.5 < time.monotonic() - start < 20


def test_a_fast_runtime_drops_little_in_real_time_and_waits_for_the_clock(
    tmp_path: Path, classifier: EmotionClassifier
) -> None:
    path = write_video(tmp_path / "slow.mp4", moving(8), rate=8)
    start = time.monotonic()
    with predict_video(classifier, video_source(path), realtime=True) as run:
        list(run)
    assert time.monotonic() - start > 0.8
    assert run.summary.classified >= 4


@pytest.mark.parametrize("every", [1, 4])
def test_on_frame_sees_every_frame_with_the_latest_result(
    every: int, clip: Path, classifier: EmotionClassifier
) -> None:
    seen: list[tuple[int, int | None]] = []

    def on_frame(frame: Frame, result: FrameResult | None) -> None:
        assert threading.current_thread() is threading.main_thread()
        seen.append((frame.index, None if result is None else result.index))

    with predict_video(classifier, video_source(clip), every=every, on_frame=on_frame) as run:
        results = list(run)
    assert seen == [(index, index - index % every) for index in range(50)]
    assert len(results) == len(range(0, 50, every))


@pytest.mark.parametrize("stage", ["prepare", "classify", "result"])
def test_an_exception_in_any_thread_is_raised_in_the_caller(
    stage: str, clip: Path, classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()
    whole = getattr(classifier, stage)

    def fails(*args: Any, **options: Any) -> Any:
        if next(calls) == 3:
            raise ArtifactError("the model gives logits that are not finite")
        return whole(*args, **options)

    monkeypatch.setattr(classifier, stage, fails)
    with predict_video(classifier, video_source(clip)) as run, pytest.raises(ArtifactError, match="not finite"):
        list(run)
    assert run.summary.complete is False
    assert run.summary.error == "the model gives logits that are not finite"
    assert run.summary.classified < 50


def test_an_exception_in_on_frame_ends_the_run(clip: Path, classifier: EmotionClassifier) -> None:
    def fails(frame: Frame, result: FrameResult | None) -> None:
        raise FileError("the disk is full")

    with predict_video(classifier, video_source(clip), on_frame=fails) as run, pytest.raises(FileError):
        list(run)
    assert run.summary.error == "the disk is full"


@pytest.mark.parametrize("how", ["with", "close", "forgotten", "never begun"])
def test_a_run_that_is_left_early_stops_its_threads(how: str, clip: Path, classifier: EmotionClassifier) -> None:
    run = predict_video(classifier, video_source(clip))
    if how != "never begun":
        assert next(run).index == 0
        assert our_threads()
    if how == "with":
        with run:
            pass
    elif how in ("close", "never begun"):
        run.close()
        run.close()
    if how != "forgotten":
        assert our_threads() == []
        summary = run.summary
        assert summary.decoded == summary.classified + summary.skipped + summary.dropped
        assert (summary.complete, summary.classified) == (False, 0 if how == "never begun" else 1)
        assert "was stopped after" in str(summary.error)
    del run


def test_the_reader_does_not_run_far_ahead_of_the_caller(tmp_path: Path, classifier: EmotionClassifier) -> None:
    path = write_video(tmp_path / "long.mp4", moving(100))
    with predict_video(classifier, video_source(path)) as run:
        next(run)
        time.sleep(0.3)
        assert run.summary.decoded < 40


def test_a_source_that_gives_neither_frame_nor_error_is_an_error(
    clip: Path, classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr("motivnet_engines.video.steps.STALL_SECONDS", 0.2)
    monkeypatch.setattr("motivnet_engines.video.decoding.VideoReader._packets", lambda _: iter(release.wait, True))
    threading.Timer(1.0, release.set).start()
    with predict_video(classifier, video_source(clip)) as run, pytest.raises(VideoError, match="gave no frame for"):
        list(run)


@pytest.mark.parametrize("every", [0, -1])
def test_every_zeroth_frame_is_refused(every: int, clip: Path, classifier: EmotionClassifier) -> None:
    with pytest.raises(ConfigError, match="N of 1 or more"):
        predict_video(classifier, video_source(clip), every=every)


def test_a_camera_that_is_stopped_is_complete(
    clip: Path, classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VideoSource, "live", property(lambda _: True))
    with predict_video(classifier, video_source(clip)) as run:
        next(run)
    assert (run.summary.complete, run.summary.error) == (True, None)


def test_a_camera_that_is_not_there_says_so(classifier: EmotionClassifier) -> None:
    if Path("/dev/video63").exists():
        pytest.skip("there is such a camera")
    with pytest.raises(VideoError, match=r"there is no camera 63 \(/dev/video63\); (none is connected|there are)"):
        predict_video(classifier, camera(63))


def test_a_device_that_is_no_camera_is_an_error_of_one_line(classifier: EmotionClassifier) -> None:
    source = VideoSource(kind="camera", target="/dev/null", name="camera 0")
    with pytest.raises(VideoError, match=r"camera 0 \(/dev/null\) cannot be opened: "):
        predict_video(classifier, source)


def test_ctrl_c_ends_a_run_at_once(clip: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from motivnet_engines.classifier import EmotionClassifier
        from motivnet_engines.fake import FakeRuntime, fake_manifest
        from motivnet_engines.video import video_source
        from motivnet_engines.video.run import predict_video
        manifest = fake_manifest()
        classifier = EmotionClassifier(FakeRuntime(manifest), manifest)
        run = predict_video(classifier, video_source(sys.argv[1]), realtime=True)
        try:
            for result in run:
                print(result.index, flush=True)
        except KeyboardInterrupt:
            print(run.summary.error, flush=True)
    """)
    write_video(clip, moving(30), times=[0.0, *(10.0 + index for index in range(29))])
    command = [sys.executable, "-c", program, str(clip)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        rest = process.stdout.read()
        assert process.wait(20) == 0
    assert "was stopped after" in rest
    assert time.monotonic() - start < 8


def test_results_and_summary_are_plain_json_values(clip: Path, classifier: EmotionClassifier) -> None:
    with predict_video(classifier, video_source(clip)) as run:
        result = next(run)
    found = json.loads(json.dumps(result.to_dict()))
    assert set(found) == {"name", "frame", "time", "width", "height", "faces", "timing"}
    assert found["faces"][0]["track"] == 1
    assert found["faces"][0]["label"] in found["faces"][0]["probabilities"]
    assert json.loads(json.dumps(run.summary.to_dict()))["classified"] == 1


def test_the_detector_of_the_tests_finds_what_is_drawn() -> None:
    [picture] = squares(1, lambda _: (20, 30), lambda _: (90, 50))
    boxes = [face.box for face in SquareDetector().detect(picture)]
    assert [(box.x, box.y, box.width, box.height) for box in boxes] == [(20, 30, 32, 32), (90, 50, 32, 32)]
