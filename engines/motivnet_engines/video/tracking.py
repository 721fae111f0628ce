"""Which face of a frame is which face of the frames before."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

from motivnet.box import Box

MIN_IOU = 0.3
LOST_SECONDS = 1.0
_LOST_FRAMES = 2.5
_INTERVALS = 5


@dataclass(slots=True)
class _Track:
    box: Box | None
    seen: float


class FaceTracker:
    """Numbers for faces, from 1, that stay with a face as long as its boxes overlap from frame to
    frame.

    The pair of a track and a box that overlap most is matched first, and so on (greedy, which for
    few faces is as good as an optimal assignment); equal overlaps go to the older track. Faces that
    cross may exchange their numbers: boxes alone do not tell them apart. A face without a box,
    where the image is the face itself, is matched with its like.

    Args:
        lost_after: Seconds after which a face that was not seen is forgotten; it then gets a new
            number. Where frames are further apart than that, a face may be missing in one of them.
    """

    def __init__(self, *, lost_after: float = LOST_SECONDS, min_iou: float = MIN_IOU) -> None:
        self.lost_after = lost_after
        self.min_iou = min_iou
        self._tracks: dict[int, _Track] = {}
        self._next = 1
        self._last: float | None = None
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)

    @property
    def tracks(self) -> frozenset[int]:
        """The numbers of the faces that are not forgotten."""
        return frozenset(self._tracks)

    def update(self, boxes: Sequence[Box | None], time: float) -> tuple[int, ...]:
        """The track of each box of a frame, in order; ``time`` is not before that of the last frame."""
        patience = self._patience(time)
        self._tracks = {
            number: track for number, track in self._tracks.items() if time - track.seen <= patience
        }
        matched = self._matched(boxes)
        return tuple(self._seen(matched.get(index), box, time) for index, box in enumerate(boxes))

    def _patience(self, time: float) -> float:
        """Seconds that a face may be away, by the usual distance of frames: one long gap does not change that."""
        if self._last is not None:
            self._intervals.append(time - self._last)
        self._last = time
        usual = median_low(self._intervals) if self._intervals else 0.0
        return max(self.lost_after, _LOST_FRAMES * usual)

    def _matched(self, boxes: Sequence[Box | None]) -> dict[int, int]:
        """The track of each index that overlaps one enough."""
        pairs = [
            (-_overlap(track.box, box), number, index)
            for number, track in self._tracks.items()
            for index, box in enumerate(boxes)
        ]
        matched: dict[int, int] = {}
        taken: set[int] = set()
        for overlap, number, index in sorted(pairs):
            if -overlap >= self.min_iou and number not in taken and index not in matched:
                matched[index] = number
                taken.add(number)
        return matched

    def _seen(self, number: int | None, box: Box | None, time: float) -> int:
        if number is None:
            number, self._next = self._next, self._next + 1
        self._tracks[number] = _Track(box, time)
        return number


def _overlap(first: Box | None, second: Box | None) -> float:
    if first is None or second is None:
        return float(first is second)
    return first.iou(second)
