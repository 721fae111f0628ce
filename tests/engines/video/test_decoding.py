"""Frames: upright, at their times, and none of them lost for no reason."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from motivnet.errors import VideoError
from motivnet_engines.video import video_source
from motivnet_engines.video.decoding import Frame, VideoReader

from .conftest import moving, write_video

QUADRANTS = np.zeros((64, 96, 3), np.uint8)
QUADRANTS[:32, :48], QUADRANTS[:32, 48:], QUADRANTS[32:, :48] = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
)


def read(path: Path) -> tuple[list[Frame], str | None]:
    with VideoReader(video_source(path)) as reader:
        frames = [decoded.to_rgb() for decoded in reader]
        return frames, reader.missing()


def test_frames_are_rgb_pixels_with_index_and_time(clip: Path) -> None:
    frames, missing = read(clip)
    assert missing is None
    assert [frame.index for frame in frames] == list(range(50))
    assert [frame.time for frame in frames] == pytest.approx([index / 25 for index in range(50)])
    for frame, expected in zip(frames, moving(50), strict=True):
        assert (frame.pixels.shape, frame.pixels.dtype) == ((120, 160, 3), np.uint8)
        assert abs(frame.pixels.astype(int) - expected).mean() < 12


MATRICES = [
    (1, 0, 0, 1),
    (-1, 0, 0, 1),
    (-1, 0, 0, -1),
    (1, 0, 0, -1),
    (0, 1, 1, 0),
    (0, 1, -1, 0),
    (0, -1, -1, 0),
]


def shown(pixels: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Every point (x, y) at (a x + c y, b x + d y), as ISO/IEC 14496-12 says."""
    a, b, c, d = matrix
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    columns, rows = a * x + c * y, b * x + d * y
    columns, rows = columns - columns.min(), rows - rows.min()
    result = np.empty((rows.max() + 1, columns.max() + 1, 3), np.uint8)
    result[rows, columns] = pixels
    return result


@pytest.mark.parametrize("matrix", [*MATRICES, (0, -1, 1, 0)])
def test_a_turned_or_mirrored_video_is_put_upright(
    matrix: tuple[int, int, int, int], tmp_path: Path
) -> None:
    [first, _], _ = read(write_video(tmp_path / "turned.mp4", [QUADRANTS] * 2, matrix=matrix))
    expected = shown(QUADRANTS, matrix)
    assert first.pixels.shape == expected.shape
    assert abs(first.pixels.astype(int) - expected).mean() < 12


def test_a_phone_held_upright_gives_an_upright_picture(tmp_path: Path) -> None:
    """Phones store such a video on its left side, with the matrix of a clockwise turn."""
    [frame], _ = read(
        write_video(tmp_path / "phone.mov", [np.rot90(QUADRANTS)], matrix=(0, 1, -1, 0))
    )
    assert abs(frame.pixels.astype(int) - QUADRANTS).mean() < 12


def test_a_turn_that_is_no_quarter_is_left_alone(tmp_path: Path) -> None:
    [frame], _ = read(write_video(tmp_path / "askew.mp4", [QUADRANTS], matrix=(1, 1, -1, 1)))
    assert abs(frame.pixels.astype(int) - QUADRANTS).mean() < 12


def test_a_variable_frame_rate_keeps_every_time(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.05, 0.5, 0.51, 1.7, 1.9, 1.91]
    frames, missing = read(write_video(tmp_path / "variable.mp4", moving(len(times)), times=times))
    assert [frame.time for frame in frames] == pytest.approx(times, abs=1e-4)
    assert missing is None


@pytest.mark.parametrize("name", ["late.ts", "late.mkv", "late.mp4"])
def test_times_count_from_the_beginning_of_the_container(name: str, tmp_path: Path) -> None:
    times = [1.4 + index / 25 for index in range(20)]
    frames, missing = read(write_video(tmp_path / name, moving(20), times=times))
    assert missing is None
    # An MP4 says that there is nothing before the first frame, the others have a clock that begins
    # anywhere.
    start = frames[0].time
    assert start == pytest.approx(0 if name != "late.mp4" else start)
    assert [frame.time - start for frame in frames] == pytest.approx(
        [time - 1.4 for time in times], abs=2e-3
    )


def test_frames_without_times_follow_one_another_at_the_usual_distance(tmp_path: Path) -> None:
    data = bytearray(write_video(tmp_path / "untimed.avi", moving(10), codec="mjpeg").read_bytes())
    path = tmp_path / "untimed.avi"
    path.write_bytes(data)
    with VideoReader(video_source(path)) as reader:
        pictures = list(reader._packets())
        decoded = [picture for packet in pictures for picture in packet.decode()]
        for picture in decoded:
            picture.pts = None
        assert [reader._time(picture) for picture in decoded] == pytest.approx(
            [index / 25 for index in range(10)]
        )


def test_a_time_that_goes_back_is_put_after_its_predecessor(clip: Path) -> None:
    with VideoReader(video_source(clip)) as reader:
        decoded = [picture for packet in reader._packets() for picture in packet.decode()][:4]
        decoded[2].pts = 0
        times = [reader._time(picture) for picture in decoded]
    assert times == sorted(times)
    assert times == pytest.approx([0.0, 0.04, 0.08, 0.12])


def test_frames_of_changing_size_are_read_as_they_are(tmp_path: Path) -> None:
    first = write_video(tmp_path / "1.ts", moving(10), codec="mpeg2video").read_bytes()
    second = write_video(
        tmp_path / "2.ts", moving(10, size=(64, 96)), codec="mpeg2video"
    ).read_bytes()
    path = tmp_path / "both.ts"
    path.write_bytes(first + second)
    frames, _ = read(path)
    assert {frame.pixels.shape[:2] for frame in frames} == {(120, 160), (64, 96)}
    assert [frame.time for frame in frames] == sorted(frame.time for frame in frames)


def test_a_frame_that_becomes_too_large_is_an_error(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with VideoReader(video_source(clip)) as reader:
        monkeypatch.setattr("motivnet_engines.video.opening.MAX_PIXELS", 100)
        with pytest.raises(VideoError, match="160 x 120 pixels"):
            list(reader)


def test_sound_that_lasts_longer_than_the_pictures_is_no_fault(tmp_path: Path) -> None:
    path = write_video(tmp_path / "sound.mp4", moving(25), sound_seconds=3.0)
    frames, missing = read(path)
    assert (len(frames), missing) == (25, None)


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    frames, missing = read(write_video(tmp_path / "one.mp4", moving(1)))
    assert (len(frames), missing) == (1, None)


def test_frames_that_an_edit_list_leaves_out_are_not_missed(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", moving(50))
    path = tmp_path / "trimmed.mp4"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None and packet.pts is not None:
                packet.pts -= 20 * 512
                packet.dts -= 20 * 512
                packet.stream = stream
                target.mux(packet)
    frames, missing = read(path)
    assert missing is None
    assert 25 <= len(frames) <= 50


def test_the_rate_is_what_the_container_declares(tmp_path: Path) -> None:
    with VideoReader(
        video_source(write_video(tmp_path / "slow.mp4", moving(10), rate=5))
    ) as reader:
        assert reader.rate == 5
