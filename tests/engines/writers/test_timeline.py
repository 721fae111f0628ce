"""The timeline: a PNG with a panel a face and a name in every band that has room for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from motivnet.errors import FileError
from motivnet.images import read_image
from motivnet.labels import EMOTIONS
from motivnet.prediction import Prediction
from motivnet_engines.inference.results import Timing
from motivnet_engines.video import FrameResult, TrackedFace
from motivnet_engines.writers.drawing import colour_of
from motivnet_engines.writers.timeline import PANELS, Timeline, clock, name_places


def result(time: float, *tracks: int, likely: str = "happiness") -> FrameResult:
    rest = 0.2 / (len(EMOTIONS) - 1)
    probabilities = {label: 0.8 if label == likely else rest for label in EMOTIONS}
    face = Prediction(label=likely, confidence=0.8, probabilities=probabilities, energy=0.0)
    return FrameResult(
        name="clip.mp4",
        index=round(time * 25),
        time=time,
        width=64,
        height=64,
        faces=tuple(TrackedFace(track=track, prediction=face) for track in tracks),
        timing=Timing(prepare_ms=0, classify_ms=0),
    )


def drawn(path: Path, *results: FrameResult, duration: float | None = None) -> np.ndarray:
    timeline = Timeline(path)
    for each in results:
        timeline.add(each)
    timeline.write(duration=results[-1].time + 1 / 25 if duration is None else duration)
    return read_image(path)


def colour(label: str) -> tuple[int, int, int]:
    return colour_of(result(0.0, 1, likely=label).faces[0].prediction)


HAPPY, SAD = colour("happiness"), colour("sadness")


def share(pixels: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((abs(pixels.astype(int) - colour).max(axis=2) < 4).mean())


def test_a_timeline_is_for_this_user_alone(tmp_path: Path, open_umask: None) -> None:
    drawn(tmp_path / "one.png", result(0.0, 1))
    assert (tmp_path / "one.png").stat().st_mode & 0o777 == 0o600


def test_the_likeliest_emotion_fills_most_of_the_panel(tmp_path: Path) -> None:
    pixels = drawn(tmp_path / "one.png", *(result(index / 25, 1) for index in range(100)))
    assert 0.35 < share(pixels, HAPPY) < 0.8


def test_a_face_that_was_away_leaves_a_gap(tmp_path: Path) -> None:
    whole = drawn(tmp_path / "a.png", *(result(index / 25, 1) for index in range(100)))
    gap = drawn(
        tmp_path / "b.png", *(result(i / 25, *([] if 25 <= i < 75 else [1])) for i in range(100))
    )
    assert share(gap, HAPPY) == pytest.approx(share(whole, HAPPY) / 2, rel=0.15)


def test_each_face_has_a_panel_up_to_four(tmp_path: Path) -> None:
    heights = [
        drawn(
            tmp_path / "f.png", *(result(index / 25, *range(1, faces + 1)) for index in range(50))
        ).shape[0]
        for faces in (1, 2, PANELS, PANELS + 3)
    ]
    assert heights[0] < heights[1] < heights[2] == heights[3]


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("tracks", [(), (1,)])
def test_a_video_of_hardly_anything_is_drawn_without_a_warning(
    frames: int, tracks: tuple[int, ...], tmp_path: Path
) -> None:
    assert (
        drawn(tmp_path / "t.png", *(result(index / 25, *tracks) for index in range(frames))).shape[
            1
        ]
        == 1200
    )


def test_hours_are_drawn_as_means(tmp_path: Path) -> None:
    changing = (
        result(float(index), 1, likely=("happiness", "sadness")[index % 2])
        for index in range(20_000)
    )
    pixels = drawn(tmp_path / "hours.png", *changing)
    assert share(pixels, HAPPY) == pytest.approx(share(pixels, SAD), rel=0.3)


def test_equal_results_give_equal_files(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        drawn(tmp_path / name, *(result(index / 25, 1) for index in range(20)))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError):
        drawn(tmp_path / "file" / "t.png", result(0.0))


def test_a_name_lies_within_its_band() -> None:
    times = np.linspace(0, 10, 200)
    low, high = np.zeros(200), np.exp(-((times - 7) ** 2))
    [(x, y)] = name_places(times, low, high, width=0.8, height=0.1, apart=2.5)
    assert x == pytest.approx(7, abs=0.2)
    assert 0 < y < high[np.searchsorted(times, x - 0.4)] / 2 + 0.05


def test_a_band_that_is_too_thin_or_too_short_has_no_name() -> None:
    times = np.linspace(0, 10, 200)
    assert (
        list(
            name_places(times, np.zeros(200), np.full(200, 0.05), width=0.8, height=0.1, apart=2.5)
        )
        == []
    )
    assert (
        list(name_places(times[:5], np.zeros(5), np.ones(5), width=0.8, height=0.1, apart=2.5))
        == []
    )


def test_a_long_band_has_its_name_several_times_but_apart() -> None:
    times = np.linspace(0, 10, 200)
    places = sorted(
        x
        for x, _ in name_places(
            times, np.zeros(200), np.ones(200), width=0.5, height=0.1, apart=2.5
        )
    )
    assert len(places) >= 3
    assert min(np.diff(places)) >= 2.5


def test_a_name_at_the_edge_stays_within_its_band() -> None:
    times = np.linspace(0, 10, 200)
    places = list(name_places(times, np.zeros(200), times / 10, width=2.0, height=0.1, apart=20))
    assert [x for x, _ in places] == [pytest.approx(9.0, abs=0.01)]


def test_a_band_has_its_name_three_times_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str] = []
    text = Axes.text

    def counted(self: Axes, x: float, y: float, label: str, **rest: Any) -> Any:
        texts.append(label)
        return text(self, x, y, label, **rest)

    monkeypatch.setattr(Axes, "text", counted)
    drawn(
        tmp_path / "t.png",
        *(result(index / 25, *([1] if index % 250 < 200 else [])) for index in range(1000)),
    )
    assert 2 <= texts.count("happiness") <= 3


def test_the_axis_ends_with_the_video(tmp_path: Path) -> None:
    results = [result(index / 2, 1) for index in range(10)]
    by_frames, by_video = (
        drawn(tmp_path / "t.png", *results, duration=duration) for duration in (None, 10.0)
    )
    assert share(by_video, HAPPY) == pytest.approx(share(by_frames, HAPPY) / 2, rel=0.1)


@pytest.mark.parametrize(
    ("step", "expected"), [(0.5, ["0:00.0", "0:00.5", "1:01.0"]), (1, ["0:00", "0:00", "1:01"])]
)
def test_all_marks_of_the_clock_have_one_format(step: float, expected: list[str]) -> None:
    assert [clock(seconds, decimals=int(step < 1)) for seconds in (0, 0.5, 61)] == expected
