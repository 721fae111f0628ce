"""What a run of ``motivnet predict`` is asked for, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from motivnet_engines.cli.predict_sources import Source
from motivnet_engines.writers.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How videos are read and which pictures are made.

    Args:
        targets: Where the annotated copy of a source goes; sources without one get none.
        names: What a sheet calls a source; by default the name of the file.
        montage: A sheet of all faces; of a video, each face at its best.
        timeline: A plot of the one video's emotions.
    """

    targets: Mapping[Source, Path] = field(default_factory=dict)
    names: Mapping[Source, str] = field(default_factory=dict)
    montage: Path | None = None
    timeline: Path | None = None
    every: int = 1
    realtime: bool = False
    smooth: float = 0.0


@dataclass(slots=True, kw_only=True)
class Report:
    """What becomes of a run: records and progress are told at once, the rest is read at its end.

    Args:
        record: Takes every record.
        advance: Hears of every source that is finished.
        total: How many sources there are.
        stopped: How Ctrl-C ended the run before its end; None if it did not.
        errors: What could not be done, a line each.
    """

    record: Callable[[Record], object]
    advance: Callable[[int], object]
    total: int
    finished: int = 0
    stopped: str | None = None
    remarks: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def finish(self) -> None:
        """Notes that nothing more is recorded of a source."""
        self.finished += 1
        self.advance(1)
