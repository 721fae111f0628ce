"""Probabilities that do not flicker from frame to frame."""

from __future__ import annotations

import math
from collections.abc import Collection

from motivnet.errors import ConfigError


class ProbabilitySmoother:
    """Exponential smoothing of each track's probabilities over real time.

    With the time ``dt`` since the track was last seen, ``p = p_old + (1 - exp(-dt / seconds))
    (p_new - p_old)``: after ``seconds`` a change has come through to 63 %, at any and any varying
    frame rate.

    Args:
        seconds: The time constant; 0 leaves the probabilities as they are.

    Raises:
        ConfigError: If it is negative or not finite.
    """

    def __init__(self, seconds: float) -> None:
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ConfigError(
                f"the time constant of smoothing is 0 (off) or more seconds, not {seconds}"
            )
        self.seconds = seconds
        self._tracks: dict[int, tuple[float, dict[str, float]]] = {}

    def smoothed(
        self, track: int, time: float, probabilities: dict[str, float]
    ) -> dict[str, float]:
        """The track's probabilities at a time, given those of the frame; their sum is 1."""
        before = self._tracks.get(track)
        if self.seconds and before is not None:
            weight = -math.expm1(-max(time - before[0], 0.0) / self.seconds)
            mixed = {
                label: before[1][label] + weight * (new - before[1][label])
                for label, new in probabilities.items()
            }
            total = math.fsum(mixed.values())
            probabilities = {label: value / total for label, value in mixed.items()}
        self._tracks[track] = time, probabilities
        return probabilities

    def keep(self, tracks: Collection[int]) -> None:
        """Forgets all other tracks."""
        self._tracks = {track: state for track, state in self._tracks.items() if track in tracks}
