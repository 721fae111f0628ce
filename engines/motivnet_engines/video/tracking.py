"""Tracks: which face of a frame is which face of earlier frames, and smoothed probabilities."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Sequence
from statistics import median_low

from motivnet.errors import ConfigError
from motivnet.prediction import Box


class FaceTracker:
    """Numbers for faces, from 1, that stay with a face while its boxes overlap from frame to frame.

    Matching is greedy: the track and the box that overlap most are matched first; ties go to the
    older track. For few faces this is as good as an optimal assignment. Faces that cross may
    exchange their numbers, because boxes alone do not distinguish them. A face without a box (the
    image is the face) is matched only with another one without a box.

    A face that is not seen for a second gets a new number. Where frames are more than 0.4 seconds
    apart the limit is 2.5 frame intervals, so that a face may be missing in one frame.
    """

    def __init__(self) -> None:
        # By number: the last box of the face, and the time at which it was seen.
        self._tracks: dict[int, tuple[Box | None, float]] = {}
        self._next = 1
        self._last: float | None = None
        self._intervals: deque[float] = deque(maxlen=5)

    @property
    def tracks(self) -> frozenset[int]:
        """The numbers of the faces that are not lost."""
        return frozenset(self._tracks)

    def update(self, boxes: Sequence[Box | None], time: float) -> tuple[int, ...]:
        """Return the track of each box of the next frame, in order; ``time`` does not decrease."""
        limit = self._lost_after(time)
        self._tracks = {
            number: (box, seen)
            for number, (box, seen) in self._tracks.items()
            if time - seen <= limit
        }
        matched = self._match(boxes)
        numbers = []
        for index, box in enumerate(boxes):
            number = matched.get(index)
            if number is None:
                number = self._next
                self._next += 1
            self._tracks[number] = box, time
            numbers.append(number)
        return tuple(numbers)

    def _lost_after(self, time: float) -> float:
        """Return the seconds after which a face is lost.

        The median of the last intervals counts, so one long gap between frames changes nothing.
        """
        if self._last is not None:
            self._intervals.append(time - self._last)
        self._last = time
        usual = median_low(self._intervals) if self._intervals else 0.0
        return max(1.0, 2.5 * usual)

    def _match(self, boxes: Sequence[Box | None]) -> dict[int, int]:
        """Return the track of each index whose box overlaps a track enough."""
        pairs = [
            (-_overlap(last, box), number, index)
            for number, (last, _) in self._tracks.items()
            for index, box in enumerate(boxes)
        ]
        matched: dict[int, int] = {}
        taken: set[int] = set()
        for overlap, number, index in sorted(pairs):
            if -overlap >= 0.3 and number not in taken and index not in matched:
                matched[index] = number
                taken.add(number)
        return matched


def _overlap(first: Box | None, second: Box | None) -> float:
    if first is None or second is None:
        return float(first is second)
    return first.iou(second)


class ProbabilitySmoother:
    """Exponential smoothing of each track's probabilities over time.

    With the time ``dt`` since the track was last seen, ``p = p_old + (1 - exp(-dt / seconds))
    (p_new - p_old)``. After ``seconds``, 63 % of a change has come through, whatever the frame
    rate and even if it varies.

    Args:
        seconds: The time constant; 0 leaves the probabilities unchanged.

    Raises:
        ConfigError: If it is negative or not finite.
    """

    def __init__(self, seconds: float) -> None:
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ConfigError(
                f"the time constant of smoothing is 0 (off) or more seconds, not {seconds}"
            )
        self._seconds = seconds
        self._tracks: dict[int, tuple[float, dict[str, float]]] = {}

    def smooth(self, track: int, time: float, probabilities: dict[str, float]) -> dict[str, float]:
        """Return the track's smoothed probabilities at a time; their sum is 1."""
        before = self._tracks.get(track)
        if self._seconds and before is not None:
            weight = -math.expm1(-max(time - before[0], 0.0) / self._seconds)
            mixed = {
                label: before[1][label] + weight * (new - before[1][label])
                for label, new in probabilities.items()
            }
            total = math.fsum(mixed.values())
            probabilities = {label: value / total for label, value in mixed.items()}
        self._tracks[track] = time, probabilities
        return probabilities

    def keep(self, tracks: Collection[int]) -> None:
        """Forget all other tracks."""
        self._tracks = {track: state for track, state in self._tracks.items() if track in tracks}
