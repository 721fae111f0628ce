"""Decoded frames of an open video, each with its time, and a record of what was received."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import VideoError
from motivnet_engines.video.completeness import (
    MICROSECONDS,
    Received,
    find_shortfall,
    read_declared,
)
from motivnet_engines.video.opening import (
    FAILURES,
    check_size,
    is_live,
    open_container,
    reason,
    video_stream,
)
from motivnet_engines.video.source import VideoSource

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.video.stream import VideoStream

logger = logging.getLogger(__name__)

_FASTEST = 1000.0
_HDR = {16: "PQ", 18: "HLG"}
"""Transfer characteristics of high dynamic range (ITU-T H.273)."""

_Pixels = NDArray[np.uint8]
_ROTATIONS: dict[tuple[int, int, int, int], Callable[[_Pixels], _Pixels]] = {
    (-1, 0, 0, 1): lambda pixels: pixels[:, ::-1],
    (-1, 0, 0, -1): lambda pixels: pixels[::-1, ::-1],
    (1, 0, 0, -1): lambda pixels: pixels[::-1],
    (0, 1, 1, 0): lambda pixels: pixels.transpose(1, 0, 2),
    (0, 1, -1, 0): lambda pixels: pixels[::-1].transpose(1, 0, 2),
    (0, -1, -1, 0): lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    (0, -1, 1, 0): lambda pixels: pixels[:, ::-1].transpose(1, 0, 2),
}
"""By the signs of (a, b, c, d): a stored point (x, y) is shown at (a x + c y, b x + d y).

ISO/IEC 14496-12, 6.2.2.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame: its number from 0, its time in seconds, its rotated RGB pixels ``(H, W, 3)``."""

    index: int
    time: float
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedFrame:
    """A frame in the decoder's pixel format; ``to_rgb`` converts it.

    ``size`` is its (width, height) in square pixels, before it is rotated.
    """

    index: int
    time: float
    picture: VideoFrame
    size: tuple[int, int]

    def to_rgb(self) -> Frame:
        """Return the frame as RGB in square pixels, rotated."""
        pixels = _rotated_pixels(self.picture, self.size)
        return Frame(index=self.index, time=self.time, pixels=pixels)


class VideoReader:
    """The frames of a source, in order of their times, once.

    An error that stops the reading is raised after the last readable frame; ``missing`` tells what
    is missing.

    Args:
        source: Opened here; closed by ``close``.

    Raises:
        FileError, VideoError: If it cannot be opened.
    """

    def __init__(self, source: VideoSource) -> None:
        self.source = source
        with contextlib.ExitStack() as stack:
            self._container = stack.enter_context(open_container(source))
            self._stream = video_stream(self._container, source.name)
            self._stack = stack.pop_all()
        self.live = is_live(self._container, source)
        self._stream.thread_type = "SLICE" if self.live else "AUTO"
        self.rate = _average_rate(self._stream)
        self.received = Received()
        self._declared = read_declared(self._container, self._stream, source, step=1 / self.rate)
        start = self._container.start_time
        self._origin = None if self.live or start is None else start * MICROSECONDS
        # Pictures that a camera sends over HTTP have no times, and FFmpeg invents some.
        self._has_times = self._container.format.name != "mpjpeg"
        self._last: float | None = None

    def __iter__(self) -> Iterator[DecodedFrame]:
        for packet in self._packets():
            for picture in self._decode(packet):
                size = _square_size(picture, self._stream.sample_aspect_ratio)
                for width, height in ((picture.width, picture.height), size):
                    check_size(width, height, name=self.source.name)
                if not self.received.frames:
                    self._warn(picture)
                yield DecodedFrame(
                    index=self.received.frames, time=self._time(picture), picture=picture, size=size
                )
                self.received.frames += 1

    @property
    def duration(self) -> float:
        """Seconds from the start to the end of the last frame."""
        return 0.0 if self._last is None else self._last + 1 / self.rate

    def missing(self) -> str | None:
        """Return what is missing after the last frame, in one line; None if nothing is.

        Nothing is missing of a live source that gave at least one frame.
        """
        if self.live and self.received.frames:
            return None
        shortfall = find_shortfall(self.received, self._declared)
        return None if shortfall is None else f"{self.source.name} {shortfall}"

    def close(self) -> None:
        """Close the source; a second call does nothing."""
        self._stack.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _warn(self, picture: VideoFrame) -> None:
        """Tell what of the first frame the network will not see as it was meant."""
        if (curve := _HDR.get(picture.color_trc)) is not None:
            logger.warning(
                "%s is HDR video (%s), and its colours are read pale; convert it to SDR",
                self.source.name,
                curve,
            )
        if picture.interlaced_frame:
            logger.warning(
                "%s is interlaced, and faces that move have comb-like edges; deinterlace it",
                self.source.name,
            )

    def _packets(self) -> Iterator[Packet[Any]]:
        """Yield the packets of the video; other streams only tell how far the container reaches."""
        received = self.received
        try:
            for packet in self._container.demux():
                start = _seconds(packet, packet.pts, default=float("-inf"))
                end = start + _seconds(packet, packet.duration, default=0.0)
                received.read_to = max(received.read_to, end)
                if packet.stream_index != self._stream.index:
                    continue
                received.packets += packet.size > 0
                received.damaged += packet.is_corrupt
                if not packet.is_discard:
                    received.video_from = max(received.video_from, start)
                yield packet
        except FAILURES as error:
            raise VideoError(
                f"{self.source.name} cannot be read after {self.duration:.2f} s: {reason(error)}"
            ) from error

    def _decode(self, packet: Packet[Any]) -> list[VideoFrame]:
        """Decode a packet; a broken one is counted, because later ones may be intact."""
        try:
            pictures: list[VideoFrame] = packet.decode()
        except FAILURES:
            self.received.damaged += 1
            return []
        self.received.damaged += sum(picture.is_corrupt for picture in pictures)
        return pictures

    def _time(self, picture: VideoFrame) -> float:
        """Return the seconds from the start to a frame.

        A frame without a time, or with one before that of the previous frame, follows that frame
        by one step.
        """
        # PyAV gives None for a frame without a time, although the stubs exclude it.
        stamp: float | None = picture.time if self._has_times else monotonic()
        time = None
        if stamp is not None:
            self.received.shown_from = max(self.received.shown_from, stamp)
            if self._origin is None:
                self._origin = stamp
            time = stamp - self._origin
        if time is None or (self._last is not None and time < self._last):
            time = self.duration
        self._last = time
        return time


def _average_rate(stream: VideoStream) -> float:
    """Return the frames per second; 25 if the container gives no plausible rate."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 1 / _FASTEST <= rate <= _FASTEST:
            return float(rate)
    return 25.0


def _seconds(packet: Packet[Any], ticks: int | None, *, default: float) -> float:
    return default if ticks is None else float(ticks * packet.time_base)


def _square_size(frame: VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    """Return the (width, height) of a frame in square pixels; no side gets shorter.

    Args:
        aspect: Width by height of a pixel; 0 and None if it is not known.
    """
    aspect = aspect or Fraction(1)
    if aspect >= 1:
        return round(frame.width * aspect), frame.height
    return frame.width, round(frame.height / aspect)


def _rotated_pixels(frame: VideoFrame, size: tuple[int, int]) -> _Pixels:
    """Return RGB pixels ``(H, W, 3)`` of a size, rotated and mirrored as the display matrix asks.

    A matrix that is neither a quarter turn nor a mirror image is ignored.
    """
    rgb = frame.reformat(width=size[0], height=size[1], format="rgb24")
    pixels: _Pixels = np.asarray(rgb.to_ndarray(), np.uint8)
    # A mapping by name, although the stubs say otherwise; iterating over it fails.
    side_data: Any = frame.side_data
    if "DISPLAYMATRIX" not in side_data:
        return pixels
    matrix = np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32, count=9)
    a, b, c, d = (int(sign) for sign in np.sign(matrix[[0, 1, 3, 4]]))
    rotate = _ROTATIONS.get((a, b, c, d))
    return pixels if rotate is None else np.ascontiguousarray(rotate(pixels))
