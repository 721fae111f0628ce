"""Small videos made with PyAV, and a classifier whose detector finds coloured squares."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.video.stream import VideoStream

from motivnet.prediction import Box
from motivnet.synthetic import draw_face
from motivnet_engines.faces.detector import Face
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest
from motivnet_engines.video import pipeline
from motivnet_engines.video.pipeline import Workers

TICKS = 90_000
RED, GREEN = (230, 20, 20), (20, 200, 20)

Pictures = Iterable[np.ndarray]


def write_video(
    path: Path,
    pictures: Pictures,
    *,
    codec: str = "libx264",
    rate: int = 25,
    times: Sequence[float] | None = None,
    options: dict[str, str] | None = None,
    form: str | None = None,
    aspect: Fraction | None = None,
    matrix: tuple[int, int, int, int] | None = None,
    sound_seconds: float = 0.0,
) -> Path:
    """Write RGB pictures, each at its time or ``rate`` per second, with sound if asked for."""
    with av.open(str(path), "w", format=form, options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options={"g": "12"})
        assert isinstance(stream, VideoStream)
        sound = container.add_stream("aac", rate=48_000) if sound_seconds else None
        for index, picture in enumerate(pictures):
            if index == 0:
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = (
                    "rgb24" if codec == "png" else "yuvj420p" if codec == "mjpeg" else "yuv420p"
                )
                stream.codec_context.time_base = Fraction(1, TICKS) if times else Fraction(1, rate)
                if aspect is not None:
                    stream.codec_context.sample_aspect_ratio = aspect
                if matrix is not None:
                    a, b, c, d = (value << 16 for value in matrix)
                    stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = round(times[index] * TICKS) if times else index
            frame.time_base = Fraction(1, TICKS) if times else Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _write_sound(container, sound, sound_seconds)
    return path


def _write_sound(container: Any, sound: Any, seconds: float) -> None:
    for start in range(0, int(48_000 * seconds), 1024):
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        container.mux(sound.encode(frame))
    container.mux(sound.encode(None))


def squares(
    count: int, *places: Callable[[int], tuple[int, int] | None], size: tuple[int, int] = (120, 160)
) -> Pictures:
    """Grey noise with a red and a green square; their corners are functions of the index."""
    wall = np.random.default_rng(0).integers(80, 176, (*size, 1), np.uint8).repeat(3, axis=2)
    for index in range(count):
        picture = np.roll(wall, 3 * index, axis=0)
        for colour, place in zip((RED, GREEN), places, strict=False):
            if (corner := place(index)) is not None:
                picture[corner[1] : corner[1] + 32, corner[0] : corner[0] + 32] = colour
        yield picture


def moving(count: int, *, size: tuple[int, int] = (120, 160)) -> Pictures:
    """One red square that goes from left to right."""
    return squares(count, lambda index: (10 + index, 40), size=size)


def talking(count: int) -> Pictures:
    """A drawn face that moves over a plain wall and changes its emotion."""
    faces = [
        draw_face(emotion, seed=3, size=(96, 72))
        for emotion in ("neutral", "happiness", "surprise")
    ]
    for index in range(count):
        picture = np.full((144, 192, 3), 200, np.uint8)
        left = 10 + index
        picture[24:120, left : left + 72] = faces[index * len(faces) // count]
        yield picture


class SquareDetector:
    """Finds red and green squares, the red one first."""

    def detect(self, pixels: np.ndarray) -> tuple[Face, ...]:
        return tuple(
            face for channel in (0, 1) if (face := self._square(pixels.astype(np.int16), channel))
        )

    def _square(self, pixels: np.ndarray, channel: int) -> Face | None:
        others = [other for other in range(3) if other != channel]
        mask = pixels[:, :, channel] - pixels[:, :, others].max(axis=2) > 70
        if mask.sum() < 50:
            return None
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        return Face(box=Box(x=x, y=y, width=width, height=height), score=1.0)


@pytest.fixture
def classifier() -> EmotionClassifier:
    manifest = fake_manifest()
    return EmotionClassifier(FakeRuntime(manifest), manifest, detector=SquareDetector())


class FastClock:
    """The clock of a run in real time that jumps ahead instead of waiting.

    ``before_sleep`` is called before each frame with the seconds to wait for it, and ``is_due``
    tells whenever a queue has changed whether the frame may come.
    """

    def __init__(self, before_sleep: Callable[[float], object] = lambda seconds: None) -> None:
        self.time = 0.0
        self.before_sleep = before_sleep
        self.is_due = lambda: True

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float, *, workers: Workers) -> None:
        self.before_sleep(seconds)
        with workers.changed:
            workers.wait_for(self.is_due)
        self.time += max(seconds, 0.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FastClock:
    """A clock that jumps ahead, in the place of real time."""
    fast = FastClock()
    monkeypatch.setattr(pipeline, "Clock", lambda: fast)
    return fast


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Fifty frames, two seconds."""
    return write_video(tmp_path / "clip.mp4", moving(50))


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """A run that a test let go of ends when it is collected; whatever else is left is a fault."""
    yield
    if our_threads():
        gc.collect()
    deadline = time.monotonic() + 5
    while (left := our_threads()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == []


def our_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("motivnet-")]
