"""Whether a video was seen to its end: what it declares against what came out of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from motivnet.images import MAX_PIXELS

_FRAMES = 2
_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a container says of itself before it is read; None where it does not.

    Args:
        packets: Of the video stream, counted exactly.
        end: Where the container ends, in seconds on its own clock.
        step: Seconds between frames.
        whole: Whether the file's size is one that its format can have.
    """

    packets: int | None
    end: float | None
    step: float
    whole: bool = True


@dataclass(slots=True, kw_only=True)
class Account:
    """What was read and decoded so far.

    Args:
        damaged: Packets and frames that the demuxer or the decoder found broken.
        read_to: The latest end of a packet of any stream, in seconds on the container's clock.
        video_from: The latest beginning of a packet of the video; ends are guesses where the frame
        rate varies.
        shown_from: The latest beginning of a decoded frame.
    """

    packets: int = 0
    frames: int = 0
    damaged: int = 0
    read_to: float = float("-inf")
    video_from: float = float("-inf")
    shown_from: float = float("-inf")


def shortfall(account: Account, declared: Declared) -> str | None:
    """What is missing, in words that follow the name of the video; None where nothing is."""
    return next(_shortfalls(account, declared), None)


def _shortfalls(account: Account, declared: Declared) -> Iterator[str]:
    """All that is missing, the plainest first."""
    reached = f"{max(account.shown_from + declared.step, 0.0):.2f} s"
    if not account.frames:
        yield f"holds nothing that can be decoded, with at most {MAX_PIXELS // 10**6} million pixels a frame"
    if declared.packets is not None and account.packets < declared.packets:
        yield f"stops after {account.packets:,} of {declared.packets:,} frames ({reached})"
    if declared.end is not None and account.read_to < declared.end - _tolerance(
        declared.end, declared.step
    ):
        yield f"stops after {reached} of {declared.end:.2f} s"
    if not declared.whole:
        yield f"is cut off after {reached}"
    if account.shown_from < account.video_from - _tolerance(account.video_from, declared.step):
        yield f"cannot be decoded beyond {reached} of {account.video_from + declared.step:.2f} s"
    if account.damaged:
        yield f"is damaged: {account.damaged:,} of its packets or frames are broken"


def _tolerance(end: float, step: float) -> float:
    """Muxers round, and declare the end of a last frame that has no duration."""
    return max(_FRAMES * step, _SHARE * end)
