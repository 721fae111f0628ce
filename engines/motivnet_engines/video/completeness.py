"""Whether a video was read completely: what its container declares against what was decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from motivnet.files import open_regular
from motivnet.images import MAX_PIXELS
from motivnet_engines.video.source import VideoSource

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

MICROSECONDS = 1e-6
_SYNC_BYTE = 0x47
_TS_PACKETS = {0: (188, 204), 4: (192,)}
"""Packet sizes of an MPEG transport stream, by the offset of the sync byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a container declares; None where it declares nothing.

    Args:
        packets: Exact number of packets of the video stream.
        end: End of the container, in seconds on its clock.
        step: Seconds between frames.
        whole: Whether the size of the file is possible for its format.
    """

    packets: int | None
    end: float | None
    step: float
    whole: bool = True


@dataclass(slots=True, kw_only=True)
class Received:
    """What was read and decoded so far.

    Args:
        damaged: Packets and frames that the demuxer or the decoder reported as broken.
        read_to: Latest end of a packet of any stream, in seconds on the container's clock.
        video_from: Latest start of a packet of the video. The ends of packets are estimates if the
            frame rate varies.
        shown_from: Latest start of a decoded frame.
    """

    packets: int = 0
    frames: int = 0
    damaged: int = 0
    read_to: float = float("-inf")
    video_from: float = float("-inf")
    shown_from: float = float("-inf")


def read_declared(
    container: InputContainer, stream: VideoStream, source: VideoSource, *, step: float
) -> Declared:
    """Return what an open container declares."""
    name = container.format.name
    # Matroska and Flash count their duration from 0 on their clock, other formats from the start.
    from_zero = name.startswith(("matroska", "flv"))
    start = 0.0 if from_zero else (container.start_time or 0) * MICROSECONDS
    end = None if container.duration is None else start + container.duration * MICROSECONDS
    if name == "avi":  # FFmpeg estimates the duration from the file's size; the header is exact
        end = max(end or 0.0, stream.frames * step)
    # An edit list leaves out frames of an MP4; its index, which is read with the header, is exact.
    packets = len(stream.index_entries) if name.startswith("mov") and stream.frames else None
    is_ts_file = name == "mpegts" and source.kind == "file"
    whole = not is_ts_file or _has_whole_packets(source.target)
    return Declared(packets=packets, end=end, step=step, whole=whole)


def _has_whole_packets(path: str) -> bool:
    """Return whether a transport stream, which declares no length, ends with a whole packet."""
    with open_regular(Path(path)) as file:
        head = file.read(5)
        size = os.fstat(file.fileno()).st_size
    for offset, sizes in _TS_PACKETS.items():
        if head[offset : offset + 1] == bytes([_SYNC_BYTE]):
            return any(size % packet == 0 for packet in sizes)
    return True


def find_shortfall(received: Received, declared: Declared) -> str | None:
    """Return what is missing, as text to follow the name of the video; None if nothing is."""
    return next(_shortfalls(received, declared), None)


def _shortfalls(received: Received, declared: Declared) -> Iterator[str]:
    """Yield everything that is missing, the clearest sign first."""
    reached = f"{max(received.shown_from + declared.step, 0.0):.2f} s"
    if not received.frames:
        limit = f"with at most {MAX_PIXELS // 10**6} million pixels per frame"
        yield f"holds nothing that can be decoded, {limit}"
    if declared.packets is not None and received.packets < declared.packets:
        yield f"stops after {received.packets:,} of {declared.packets:,} frames ({reached})"
    if declared.end is not None and _is_short(received.read_to, declared.end, declared.step):
        yield f"stops after {reached} of {declared.end:.2f} s"
    if not declared.whole:
        yield f"is cut off after {reached}"
    if _is_short(received.shown_from, received.video_from, declared.step):
        yield f"cannot be decoded beyond {reached} of {received.video_from + declared.step:.2f} s"
    if received.damaged:
        yield f"is damaged: {received.damaged:,} of its packets or frames are broken"


def _is_short(reached: float, end: float, step: float) -> bool:
    """Muxers round times, and declare the end of a last frame that has no duration."""
    return reached < end - max(2 * step, 0.01 * end)
