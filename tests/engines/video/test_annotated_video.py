"""Annotated videos: whole or not at all, at the times of the frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from motivnet.errors import ConfigError, FileError, VideoError
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.video import video_source
from motivnet_engines.video.decoding import Frame, VideoReader
from motivnet_engines.video.run import predict_video
from motivnet_engines.writers import annotated_video as annotated
from motivnet_engines.writers import drawing
from motivnet_engines.writers.annotated_video import annotated_video

from .conftest import moving, write_video


def read(path: Path) -> list[Frame]:
    with VideoReader(video_source(path)) as reader:
        frames = [decoded.to_rgb() for decoded in reader]
        assert reader.missing() is None
    return frames


def annotate(path: Path, out: Path, classifier: EmotionClassifier, *, every: int = 1) -> None:
    with (
        annotated_video(out) as draw,
        predict_video(classifier, video_source(path), every=every, on_frame=draw) as run,
    ):
        for _ in run:
            pass


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "OUT.MOV"])
def test_every_frame_is_there_at_its_time_with_the_box_drawn(
    name: str, tmp_path: Path, classifier: EmotionClassifier
) -> None:
    times = [0.0, 0.04, 0.08, 0.5, 0.9, 1.3, 1.31, 1.4]
    path = write_video(tmp_path / "in.mp4", moving(len(times)), times=times)
    annotate(path, tmp_path / name, classifier)
    before, after = read(path), read(tmp_path / name)
    assert [frame.time for frame in after] == pytest.approx(times, abs=2e-3)
    for one, other in zip(before, after, strict=True):
        changed = abs(one.pixels.astype(int) - other.pixels).max(axis=2) > 60
        assert changed[30:80].any()
        assert changed.mean() < 0.4


def test_skipped_frames_are_drawn_too(
    clip: Path, tmp_path: Path, classifier: EmotionClassifier
) -> None:
    annotate(clip, tmp_path / "out.mp4", classifier, every=5)
    assert len(read(tmp_path / "out.mp4")) == 50


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
def test_each_encoder_writes_what_can_be_read(
    encoder: str,
    clip: Path,
    tmp_path: Path,
    classifier: EmotionClassifier,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        annotated, "_ENCODERS", tuple(entry for entry in annotated._ENCODERS if entry[0] == encoder)
    )
    annotate(clip, tmp_path / "out.mp4", classifier)
    assert len(read(tmp_path / "out.mp4")) == 50


def test_an_odd_size_gets_an_edge(tmp_path: Path, classifier: EmotionClassifier) -> None:
    picture = np.full((81, 101, 3), 90, np.uint8)
    with annotated_video(tmp_path / "odd.mp4") as draw:
        draw(Frame(index=0, time=0.0, pixels=picture), None)
    assert (tmp_path / "odd.mp4").stat().st_mode & 0o777 == 0o600, "an annotated video shows people"
    [frame] = read(tmp_path / "odd.mp4")
    assert frame.pixels.shape == (82, 102, 3)
    assert abs(frame.pixels.astype(int) - 90).max() < 12


def test_frames_of_another_size_are_fitted_into_the_first(tmp_path: Path) -> None:
    with annotated_video(tmp_path / "sizes.mp4") as draw:
        for index, size in enumerate([(80, 100), (160, 100), (40, 40)]):
            draw(
                Frame(index=index, time=index / 25, pixels=np.full((*size, 3), 200, np.uint8)), None
            )
    first, tall, small = (frame.pixels for frame in read(tmp_path / "sizes.mp4"))
    assert first.shape == tall.shape == small.shape == (80, 100, 3)
    assert tall[10, 10].min() > 180
    assert tall[10, 80].max() < 20
    assert small[60, 60].max() < 20


def test_frames_of_one_time_come_one_after_the_other(tmp_path: Path) -> None:
    with annotated_video(tmp_path / "same.mp4") as draw:
        for index in range(3):
            draw(Frame(index=index, time=0.5, pixels=np.zeros((64, 64, 3), np.uint8)), None)
    assert len(read(tmp_path / "same.mp4")) == 3


def test_an_error_leaves_an_older_file_as_it_was(
    clip: Path, tmp_path: Path, classifier: EmotionClassifier
) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"older")
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 99 // 100])
    with pytest.raises(VideoError):
        annotate(clip, out, classifier)
    assert out.read_bytes() == b"older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "out.mp4"]


def test_a_video_that_stops_short_can_be_kept_as_far_as_it_goes(
    tmp_path: Path, classifier: EmotionClassifier
) -> None:
    path = write_video(tmp_path / "in.mkv", moving(40))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with (
        annotated_video(tmp_path / "out.mp4") as draw,
        predict_video(classifier, video_source(path), on_frame=draw) as run,
        pytest.raises(VideoError, match="stops after"),
    ):
        list(run)
    assert len(read(tmp_path / "out.mp4")) == run.summary.classified > 5


def test_without_a_frame_nothing_is_written(tmp_path: Path) -> None:
    with (
        pytest.raises(VideoError, match="no frame to draw in"),
        annotated_video(tmp_path / "none.mp4"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.avi", "out.gif", "out", "out.jpg"])
def test_another_suffix_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"ends with \.mkv, \.mov, \.mp4"),
        annotated_video(tmp_path / name),
    ):
        pass


def test_a_file_that_cannot_grow_is_an_error_of_one_line(
    tmp_path: Path, file_size_limit: int
) -> None:
    with pytest.raises(FileError, match="was not written: File too large"):
        write_noise(tmp_path / "out.mp4")
    assert file_size_limit
    assert list(tmp_path.iterdir()) == []


def write_noise(path: Path) -> None:
    noise = np.random.default_rng(0)
    with annotated_video(path) as draw:
        for index in range(60):
            pixels = noise.integers(0, 256, (240, 320, 3), dtype=np.uint8)
            draw(Frame(index=index, time=index / 25, pixels=pixels), None)


def test_a_caption_names_the_track(
    clip: Path, classifier: EmotionClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions: list[str] = []
    monkeypatch.setattr(drawing, "_draw_label", lambda _, label, __: captions.append(label.text))
    with (
        annotated_video(tmp_path / "out.mp4") as draw,
        predict_video(classifier, video_source(clip), on_frame=draw) as run,
    ):
        [face] = next(run).faces
    assert captions[0] == f"#1 {face.prediction.label} {face.prediction.confidence:.0%}"
