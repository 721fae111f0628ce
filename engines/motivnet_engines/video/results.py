"""The results of a video: one per classified frame, and a summary of the run."""

from __future__ import annotations

from dataclasses import dataclass

from motivnet.prediction import Prediction
from motivnet_engines.inference.results import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedFace:
    """One face of a frame: its track, counted from 1, and its prediction, smoothed if asked for."""

    track: int
    prediction: Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameResult:
    """The faces of one frame, largest first; there may be none.

    Args:
        name: What errors call the video.
        index: Of the frame among all decoded ones, from 0.
        time: Seconds since the start of the video, or since the first frame of a camera or stream.
        width: Of the rotated frame, in pixels.
        height: Of the rotated frame, in pixels.
    """

    name: str
    index: int
    time: float
    width: int
    height: int
    faces: tuple[TrackedFace, ...]
    timing: Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSummary:
    """How much of a video was seen; ``decoded`` is ``classified + skipped + dropped``.

    Args:
        decoded: Frames that were decoded.
        classified: Frames that have a result.
        skipped: Frames that were left out on purpose (``every``).
        dropped: Frames that were left out because earlier ones were still being processed
            (``realtime``), or that were in progress when the run was stopped.
        damaged: Packets and frames that the decoder reported as damaged.
        duration: Seconds from the start to the end of the last decoded frame.
        complete: Whether the video was seen to its end and nothing was missing. A camera or stream
            that the caller stops is complete.
        error: Why it is not complete, in one line; None if it is.
    """

    name: str
    decoded: int
    classified: int
    skipped: int
    dropped: int
    damaged: int
    duration: float
    complete: bool
    error: str | None
