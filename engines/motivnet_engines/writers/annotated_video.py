"""A video with the faces and their emotions drawn in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from motivnet.errors import ConfigError, MissingDependencyError, VideoError
from motivnet.files import atomic_path
from motivnet_engines.video.decoding import Frame
from motivnet_engines.video.opening import reason
from motivnet_engines.video.results import FrameResult
from motivnet_engines.video.run import OnFrame
from motivnet_engines.writers.drawing import draw_faces

try:
    import av
    from av.container import OutputContainer
    from av.video.stream import VideoStream
except ImportError as error:
    raise MissingDependencyError("av", extra="video") from error

SUFFIXES: dict[str, str] = {".mkv": "matroska", ".mov": "mov", ".mp4": "mp4"}
"""Containers that store the time of every frame, by suffix."""

_TICKS = 60_000
"""Per second: an integer for usual rates, also of NTSC, and within the limit of MPEG-4."""

_ENCODERS: tuple[tuple[str, dict[str, str]], ...] = (
    ("libx264", {"preset": "veryfast", "crf": "20"}),
    ("mpeg4", {"qmin": "2", "qmax": "6"}),
)


@contextmanager
def annotated_video(path: Path, *, rate: float = 25.0) -> Iterator[OnFrame]:
    """Give a function for ``predict_video(on_frame=…)`` that writes annotated frames to a file.

    The video has no sound. Frames keep their times; the first gives the size, and later ones of
    another size are fitted into it. The file appears when the block ends without an error. To keep
    a video that ends too soon, catch the ``VideoError`` inside the block.

    Args:
        path: Ends with one of ``SUFFIXES``.
        rate: Average frames per second, for the container's header.

    Raises:
        ConfigError: If the suffix is not one of ``SUFFIXES``.
        FileError: If the file cannot be written.
        VideoError: If there was no frame, or the encoder fails.

    Example:
        >>> with annotated_video(Path("out.mp4")) as draw:
        ...     summary = consume(predict_video(classifier, source, on_frame=draw))
    """
    check_suffix(path)
    form = SUFFIXES[path.suffix.lower()]
    options = {} if form == "matroska" else {"movflags": "faststart"}
    with atomic_path(path, private=True) as temporary, _encoding_errors(path):
        with av.open(str(temporary), "w", format=form, options=options) as container:
            writer = _Writer(container, Fraction(rate).limit_denominator(1001))
            yield writer.draw
            writer.finish()
        if not writer.frames:
            raise VideoError(f"{path} was not written: there was no frame to draw in")


def check_suffix(path: Path) -> None:
    """Check that ``annotated_video`` can write the file.

    Raises:
        ConfigError: If the suffix is not one of ``SUFFIXES``.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"an annotated video ends with {', '.join(SUFFIXES)}, not {path.suffix or path.name!r}"
        )


class _Writer:
    """Frames drawn into an open container."""

    def __init__(self, container: OutputContainer, rate: Fraction) -> None:
        self.frames = 0
        self._rate = rate
        self._container = container
        self._stream: VideoStream | None = None
        self._last = -1

    def draw(self, frame: Frame, result: FrameResult | None) -> None:
        """Draw the faces into a frame and encode it."""
        faces = () if result is None else result.faces
        pixels = draw_faces(
            frame.pixels,
            [face.prediction for face in faces],
            tracks=[face.track for face in faces],
        )
        stream = self._stream or self._new_stream(pixels)
        picture = av.VideoFrame.from_ndarray(
            _fit(pixels, (stream.width, stream.height)), format="rgb24"
        )
        # Two frames with the same time in ticks are written one tick apart.
        picture.pts = self._last = max(self._last + 1, round(frame.time * _TICKS))
        picture.time_base = Fraction(1, _TICKS)
        self._container.mux(stream.encode(picture))
        self.frames += 1

    def finish(self) -> None:
        """Encode the frames that the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))

    def _new_stream(self, pixels: NDArray[np.uint8]) -> VideoStream:
        height, width = pixels.shape[:2]
        name, options = next(entry for entry in _ENCODERS if entry[0] in av.codecs_available)
        stream = self._container.add_stream(name, rate=self._rate, options=dict(options))
        if not isinstance(stream, VideoStream):
            raise TypeError(f"{name} is not an encoder of pictures")
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS)
        self._stream = stream
        return stream


def _fit(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the picture in the upper left of (width, height), reduced if it is larger.

    A single missing row or column, of an odd size, repeats the edge; larger margins are black.
    """
    width, height = size
    scale = min(1.0, width / pixels.shape[1], height / pixels.shape[0])
    if scale < 1:
        pixels = np.asarray(
            cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    pixels = pixels[:height, :width]
    rows, columns = height - pixels.shape[0], width - pixels.shape[1]
    if not rows and not columns:
        return pixels
    mode = cv2.BORDER_REPLICATE if max(rows, columns) == 1 else cv2.BORDER_CONSTANT
    return np.asarray(cv2.copyMakeBorder(pixels, 0, rows, 0, columns, mode), np.uint8)


@contextmanager
def _encoding_errors(path: Path) -> Iterator[None]:
    """Turn an error of FFmpeg into one line; errors of the system are left to ``atomic_path``."""
    try:
        yield
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise VideoError(f"{path} cannot be encoded: {reason(error)}") from error
