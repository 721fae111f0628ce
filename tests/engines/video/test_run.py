"""The results of a video: every frame accounted for, in order, with its faces."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from motivnet.errors import ConfigError
from motivnet.prediction import UNKNOWN, Prediction
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest
from motivnet_engines.video import FrameResult, video_source
from motivnet_engines.video.decoding import Frame
from motivnet_engines.video.run import predict_video, with_probabilities

from .conftest import SquareDetector, moving, squares, talking, write_video


def test_every_frame_has_a_result_in_order_with_its_face(
    clip: Path, classifier: EmotionClassifier
) -> None:
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
    assert summary.duration == pytest.approx(2.0)


def test_the_results_are_those_of_each_frame_alone(
    clip: Path, classifier: EmotionClassifier
) -> None:
    frames: list[Frame] = []
    with predict_video(
        classifier, video_source(clip), on_frame=lambda frame, _: frames.append(frame)
    ) as run:
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


@pytest.mark.parametrize("every", [0, -1])
def test_every_zeroth_frame_is_refused(
    every: int, clip: Path, classifier: EmotionClassifier
) -> None:
    with pytest.raises(ConfigError, match="N of 1 or more"):
        predict_video(classifier, video_source(clip), every=every)


def test_a_frame_without_a_face_is_a_result(tmp_path: Path, classifier: EmotionClassifier) -> None:
    path = write_video(
        tmp_path / "empty.mp4", squares(20, lambda index: None if 5 <= index < 10 else (20, 20))
    )
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


def test_a_still_face_is_one_track_however_few_frames_are_classified(
    tmp_path: Path, classifier: EmotionClassifier
) -> None:
    path = write_video(tmp_path / "still.mp4", squares(50, lambda _: (20, 20)), rate=10)
    with predict_video(classifier, video_source(path), every=12) as run:
        results = list(run)
    assert [result.time for result in results] == pytest.approx([0.0, 1.2, 2.4, 3.6, 4.8])
    assert {face.track for result in results for face in result.faces} == {1}


def test_smoothing_follows_the_times_of_the_frames(
    tmp_path: Path, classifier: EmotionClassifier
) -> None:
    path = write_video(tmp_path / "variable.mp4", moving(6), times=[0.0, 0.1, 0.15, 0.7, 0.8, 0.81])
    with predict_video(classifier, video_source(path)) as run:
        raw = list(run)
    with predict_video(classifier, video_source(path), smooth=0.3) as run:
        smooth = list(run)
    expected = np.array(list(raw[0].faces[0].prediction.probabilities.values()))
    for before, one, other in zip([raw[0], *raw], raw, smooth, strict=False):
        weight = 1 - np.exp(-(one.time - before.time) / 0.3)
        expected += weight * (
            np.array(list(one.faces[0].prediction.probabilities.values())) - expected
        )
        found = other.faces[0].prediction
        assert list(found.probabilities.values()) == pytest.approx(list(expected))
        assert found.confidence == max(found.probabilities.values())
        assert found.label == max(found.probabilities, key=found.probabilities.__getitem__)


def test_an_unknown_face_stays_unknown_when_it_is_smoothed() -> None:
    face = Prediction(
        label=UNKNOWN, confidence=0.9, probabilities={"a": 0.9, "b": 0.1}, energy=0.0, known=False
    )
    smoothed = with_probabilities(face, {"a": 0.4, "b": 0.6})
    assert (smoothed.label, smoothed.confidence) == (UNKNOWN, 0.6)


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


def test_a_summary_is_plain_json_values(clip: Path, classifier: EmotionClassifier) -> None:
    with predict_video(classifier, video_source(clip)) as run:
        next(run)
    assert run.summary.classified == 1


def test_the_detector_of_the_tests_finds_what_is_drawn() -> None:
    [picture] = squares(1, lambda _: (20, 30), lambda _: (90, 50))
    boxes = [face.box for face in SquareDetector().detect(picture)]
    assert [(box.x, box.y, box.width, box.height) for box in boxes] == [
        (20, 30, 32, 32),
        (90, 50, 32, 32),
    ]
