"""Videos made of real photos, with the real detector."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from motivnet.images import read_image
from motivnet.prediction import Prediction
from motivnet_engines.faces import open_detector
from motivnet_engines.faces.detector import FaceDetector
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest
from motivnet_engines.video import FrameResult, video_source
from motivnet_engines.video.run import predict_video

from .conftest import write_video

pytestmark = pytest.mark.shared

FRAMES = 50


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return open_detector()


def crossing(photos: list[np.ndarray], *, apart: int) -> Iterator[np.ndarray]:
    """Two people who walk past each other; the first is in front, and ``apart`` pixels higher."""
    for index in range(FRAMES):
        picture = np.full((360, 640, 3), 180, np.uint8)
        step = (640 - 160) * index // (FRAMES - 1)
        for photo, (left, top) in zip(
            photos[::-1], [(480 - step, 20 + apart), (step, 20)], strict=True
        ):
            picture[top : top + 160, left : left + 160] = photo
        yield picture


def watched(path: Path, detector: FaceDetector) -> list[FrameResult]:
    manifest = fake_manifest()
    classifier = EmotionClassifier(FakeRuntime(manifest), manifest, detector=detector)
    with predict_video(classifier, video_source(path), smooth=0.3) as run:
        results = list(run)
    assert run.summary.complete
    return results


@pytest.fixture(scope="module")
def people(shared_dir: Path) -> list[np.ndarray]:
    names = ("001_happiness.jpg", "005_neutral.jpg")
    photos = [read_image(shared_dir / "data" / "london" / name) for name in names]
    return [cv2.resize(photo, (160, 160), interpolation=cv2.INTER_AREA) for photo in photos]


def left_of(face: Prediction) -> float:
    assert face.box is not None
    return face.box.x


def top_of(face: Prediction) -> float:
    assert face.box is not None
    return face.box.y


def test_people_who_pass_at_a_distance_keep_their_tracks(
    people: list[np.ndarray], tmp_path: Path, detector: FaceDetector
) -> None:
    results = watched(write_video(tmp_path / "apart.mp4", crossing(people, apart=170)), detector)
    tracks = {
        tuple(face.track for face in sorted(result.faces, key=lambda face: top_of(face.prediction)))
        for result in results
    }
    assert len(tracks) == 1
    assert set(tracks.pop()) == {1, 2}


def test_people_who_cross_have_each_a_track_before_and_one_after_that_never_doubles(
    people: list[np.ndarray], tmp_path: Path, detector: FaceDetector
) -> None:
    """While one hides the other, boxes do not tell who is who: numbers may be exchanged."""
    results = watched(write_video(tmp_path / "crossing.mp4", crossing(people, apart=0)), detector)
    for result in results:
        numbers = [face.track for face in result.faces]
        assert len(set(numbers)) == len(numbers) <= 2
    for part in (results[: FRAMES // 4], results[-FRAMES // 4 :]):
        from_left = {
            tuple(
                face.track
                for face in sorted(result.faces, key=lambda face: left_of(face.prediction))
            )
            for result in part
        }
        assert len(from_left) == 1
        assert len(from_left.pop()) == 2
    assert len({face.track for result in results for face in result.faces}) <= 4
