"""What an optimisation was asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from motivnet.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiseRequest:
    """What ``motivnet-export optimise`` was asked for.

    Args:
        checkpoint: The full model.
        dataset: Images of the task, labelled or not.
        max_drop: Percentage points of accuracy (of agreement without labels) that may be lost.
        max_ms: Milliseconds per image at most.
        max_gflop: Billions of floating-point operations per image at most.
        refit: Train the head again for each size and each choice of tokens.
        student: Train smaller models too, from the answers of the full one.
        out: The folder of the result.
        rounds: Rounds in which the full model and a point alternate.
        seconds: Seconds of each of them per round.
    """

    checkpoint: Path
    dataset: Path
    max_drop: float | None = None
    max_ms: float | None = None
    max_gflop: float | None = None
    refit: bool = False
    student: bool = False
    out: Path
    rounds: int = 7
    seconds: float = 0.5

    def __post_init__(self) -> None:
        if self.max_ms is not None and self.max_gflop is not None:
            raise ConfigError(
                "--max-ms and --max-gflop both limit the cost; give one of them: milliseconds are "
                "measured here, GFLOP are the same on every machine"
            )
        for name in ("max_ms", "max_gflop"):
            value, option = getattr(self, name), f"--{name.replace('_', '-')}"
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{option} must be above 0, not {value:g}")
        if self.max_drop is not None and not 0 < self.max_drop < 100:
            raise ConfigError(
                f"--max-drop is in percentage points, above 0 and below 100, not {self.max_drop:g}"
            )
