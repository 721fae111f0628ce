"""Frames out of an open container, each with its time, and an account of what was missing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import VideoError
from motivnet.files import open_regular
from motivnet_engines.video.completeness import Account, Declared, shortfall
from motivnet_engines.video.opening import (
    FAILURES,
    check_size,
    is_live,
    open_container,
    reason,
    video_stream,
)
from motivnet_engines.video.rotation import pixels_of_frame
from motivnet_engines.video.source import VideoSource

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

_MICROSECONDS = 1e-6
_USUAL_RATE = 25.0
_FASTEST = 1000.0
_SYNC = 0x47
_TS_PACKETS = {0: (188, 204), 4: (192,)}
"""Sizes of an MPEG transport stream's packets, by where in them the sync byte lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A decoded frame: its number from 0, its time in seconds and its upright RGB pixels ``(H, W, 3)``."""

    index: int
    time: float
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedFrame:
    """A frame whose pixels are still the decoder's; ``rgb`` converts them."""

    index: int
    time: float
    picture: VideoFrame

    def rgb(self) -> Frame:
        """The frame as everything else reads it."""
        return Frame(index=self.index, time=self.time, pixels=pixels_of_frame(self.picture))


class VideoReader:
    """The frames of a source, in order of their times, once.

    What stops the reading is raised at the end of what could be read; what is missing is told by
    ``missing``.

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
        self.rate = _rate(self._stream)
        self.account = Account()
        self.declared = _declared(self._container, self._stream, source, 1 / self.rate)
        start = self._container.start_time
        self._origin = None if self.live or start is None else start * _MICROSECONDS
        # Pictures that a camera sends over HTTP come without times, and FFmpeg makes some up.
        self._has_times = self._container.format.name != "mpjpeg"
        self._last: float | None = None

    def __iter__(self) -> Iterator[DecodedFrame]:
        for packet in self._packets():
            for picture in self._pictures(packet):
                check_size(picture.width, picture.height, name=self.source.name)
                time = self._time(picture)
                yield DecodedFrame(index=self.account.frames, time=time, picture=picture)
                self.account.frames += 1

    @property
    def seen(self) -> float:
        """Seconds from the beginning to the end of the last frame."""
        return 0.0 if self._last is None else self._last + 1 / self.rate

    def missing(self) -> str | None:
        """After the last frame: what the video should have had besides, in one line; None if that
        was all.

        What is live is not missing anything as long as a frame came.
        """
        if self.live and self.account.frames:
            return None
        short = shortfall(self.account, self.declared)
        return None if short is None else f"{self.source.name} {short}"

    def close(self) -> None:
        """Closes the source; a second call does nothing."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _packets(self) -> Iterator[Packet[Any]]:
        """The packets of the video; those of other streams only tell how far the container reaches."""
        try:
            for packet in self._container.demux():
                self.account.read_to = max(self.account.read_to, _begin(packet) + _lasting(packet))
                if packet.stream_index == self._stream.index:
                    self._count(packet)
                    yield packet
        except FAILURES as error:
            after = f"after {self.seen:.2f} s"
            raise VideoError(
                f"{self.source.name} cannot be read on {after}: {reason(error)}"
            ) from error

    def _count(self, packet: Packet[Any]) -> None:
        self.account.packets += packet.size > 0
        self.account.damaged += packet.is_corrupt
        if not packet.is_discard:
            self.account.video_from = max(self.account.video_from, _begin(packet))

    def _pictures(self, packet: Packet[Any]) -> list[VideoFrame]:
        """What a packet decodes to; one that does not is counted, for later ones may."""
        try:
            pictures: list[VideoFrame] = packet.decode()
        except FAILURES:
            self.account.damaged += 1
            return []
        self.account.damaged += sum(picture.is_corrupt for picture in pictures)
        return pictures

    def _time(self, picture: VideoFrame) -> float:
        """The time of a frame from the beginning; one without a time, or before its predecessor, follows that."""
        # PyAV gives None where a frame has no time, whatever the stubs say.
        stamp: float | None = picture.time if self._has_times else monotonic()
        step = 1 / self.rate
        if stamp is not None:
            self.account.shown_from = max(self.account.shown_from, stamp)
            self._origin = stamp if self._origin is None else self._origin
        time = None if stamp is None or self._origin is None else stamp - self._origin
        if time is None or (self._last is not None and time < self._last):
            time = 0.0 if self._last is None else self._last + step
        self._last = time
        return time


def _rate(stream: VideoStream) -> float:
    """Frames per second on average; the usual one where the container has none that makes sense."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 1 / _FASTEST <= rate <= _FASTEST:
            return float(rate)
    return _USUAL_RATE


def _begin(packet: Packet[Any]) -> float:
    return float("-inf") if packet.pts is None else float(packet.pts * packet.time_base)


def _lasting(packet: Packet[Any]) -> float:
    return float(packet.duration * packet.time_base) if packet.duration else 0.0


def _declared(
    container: InputContainer, stream: VideoStream, source: VideoSource, step: float
) -> Declared:
    name = container.format.name
    # Matroska and Flash count their duration from 0 on their clock, the others from where they
    # begin.
    start = (
        0.0 if name.startswith(("matroska", "flv")) else (container.start_time or 0) * _MICROSECONDS
    )
    end = None if container.duration is None else start + container.duration * _MICROSECONDS
    if name == "avi":  # what is derived from the file's size is put right by what the header says
        end = max(end or 0.0, stream.frames * step)
    # An edit list leaves out frames of an MP4; its index, which is read with the header, knows.
    packets = len(stream.index_entries) if name.startswith("mov") and stream.frames else None
    whole = name != "mpegts" or source.kind != "file" or _whole_packets(source.target)
    return Declared(packets=packets, end=end, step=step, whole=whole)


def _whole_packets(path: str) -> bool:
    """Whether a transport stream, which declares no length, at least ends with a whole packet."""
    with open_regular(Path(path)) as file:
        head = file.read(5)
        size = os.fstat(file.fileno()).st_size
    sizes = next(
        (
            sizes
            for offset, sizes in _TS_PACKETS.items()
            if head[offset : offset + 1] == bytes([_SYNC])
        ),
        (),
    )
    return not sizes or any(size % packet == 0 for packet in sizes)
