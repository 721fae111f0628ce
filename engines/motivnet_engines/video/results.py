"""What became of a video: a result per frame that was classified, and a summary of all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from motivnet.prediction import Prediction
from motivnet_engines.inference.results import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedFace:
    """One face of a frame: the number of its track, counted from 1, and its prediction, smoothed where asked for."""

    track: int
    prediction: Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameResult:
    """The faces of one frame, the largest first; none is a result too.

    Args:
        name: What errors call the video.
        index: Of the frame among all decoded ones, from 0.
        time: Seconds since the beginning of the video, or since the first frame of a camera or
        stream.
        width: Of the upright frame, in pixels.
        height: Of the upright frame, in pixels.
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
        decoded: Frames that came out of the decoder.
        classified: Frames that have a result.
        skipped: Frames left out on purpose (``every``).
        dropped: Frames left out because they came too late (``realtime``), or under way when the
        run was ended.
        damaged: Packets and frames that the decoder found damaged.
        duration: Seconds from the beginning to the end of the last decoded frame.
        complete: Whether the video was seen to its end and nothing of it was missing; a camera and
            a stream that the caller stops are complete.
        error: Why it is not complete, in one line; None where it is.
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

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def with_probabilities(prediction: Prediction, probabilities: dict[str, float]) -> Prediction:
    """The prediction with other probabilities and what follows from them; an ``unknown`` face stays unknown."""
    best = max(probabilities, key=probabilities.__getitem__)
    label = best if prediction.label in probabilities else prediction.label
    return replace(
        prediction, label=label, confidence=probabilities[best], probabilities=probabilities
    )
