"""Results as text: CSV, JSON Lines or a table, to standard output or to a file."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from motivnet.files import atomic_path
from motivnet.prediction import UNKNOWN, Prediction
from motivnet.printable import escaped_json, printable
from motivnet.terminal import show, table
from motivnet_engines.writers.formats import Format
from motivnet_engines.writers.records import Record

_FRAME_COLUMNS = ("file", "frame", "time", "width", "height", "face", "track")
_FACE_COLUMNS = (
    *("x", "y", "face_width", "face_height", "score"),
    *("label", "confidence", "known", "distance", "energy", "answered_by"),
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A spreadsheet computes a text that starts with one of these, the last four in full width.

An apostrophe in front prevents it (OWASP, CSV injection).
"""


@contextlib.contextmanager
def open_writer(
    form: Format, *, labels: Sequence[str], out: Path | None = None, embeddings: bool = False
) -> Iterator[Callable[[Record], None]]:
    """Give a function that writes records: each at once to standard output, or all to a file.

    The file has mode 0600 and appears when the block ends without an error. A table is printed at
    the end of the block, even after an error or Ctrl-C.

    Args:
        labels: Of the probabilities, for the columns of CSV.
        embeddings: Whether JSON Lines contain the embeddings of the faces.

    Raises:
        FileError: If the file cannot be written.
    """
    if form == "table":
        collected = ResultTable()
        try:
            yield collected.add
        finally:
            collected.print()
        return
    text_from_record: dict[Format, Callable[[Record], str]] = {
        "csv": lambda record: csv_rows(record, labels),
        "jsonl": lambda record: jsonl_line(record, embeddings=embeddings),
    }
    header = csv_header(labels) if form == "csv" else ""
    with _open_stream(out) as stream:
        stream.write(header)

        def write(record: Record) -> None:
            stream.write(text_from_record[form](record))
            if out is None:
                stream.flush()

        yield write


@contextlib.contextmanager
def _open_stream(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        return
    with (
        atomic_path(out, private=True) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        yield stream


def jsonl_line(record: Record, *, embeddings: bool = False) -> str:
    """Return the record as a line of JSON; unprintable and non-Unicode characters are escaped."""
    document = record.to_dict(embeddings=embeddings)
    return escaped_json(json.dumps(document, ensure_ascii=False, allow_nan=False)) + "\n"


def csv_header(labels: Sequence[str]) -> str:
    """Return the row of column names (RFC 4180); ``labels`` are those of the probabilities."""
    return _csv_text([[*_FRAME_COLUMNS, *_FACE_COLUMNS, *map(_csv_field, labels), "error"]])


def csv_rows(record: Record, labels: Sequence[str]) -> str:
    """Return a row per face, largest first, counted from 1; one row if there is no face.

    The end of a video has a row only if something is missing.
    """
    if record.video is not None and record.error is None:
        return ""
    frame = [_csv_field(record.file), record.frame, record.time, record.width, record.height]
    if not record.faces:
        nothing: list[object] = [None] * (2 + len(_FACE_COLUMNS) + len(labels))
        return _csv_text([[*frame, *nothing, _csv_field(record.error or "")]])
    tracks = record.tracks or (None,) * len(record.faces)
    return _csv_text(
        [*frame, number, track, *_face_fields(face, labels), ""]
        for number, (face, track) in enumerate(zip(record.faces, tracks, strict=True), 1)
    )


def _face_fields(face: Prediction, labels: Sequence[str]) -> list[object]:
    box = [None] * 4 if face.box is None else list(face.box.to_dict().values())
    known = None if face.known is None else str(face.known).lower()
    label = [face.score, _csv_field(face.label), face.confidence, known, face.distance, face.energy]
    return [*box, *label, face.answered_by, *(face.probabilities[name] for name in labels)]


def _csv_text(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _csv_field(text: str) -> str:
    """Escape what a terminal or a spreadsheet would obey, line ends too."""
    shown = printable(text, limit=10_000)
    return f"'{shown}" if shown.startswith(_FORMULA_STARTS) else shown


@dataclass(slots=True)
class _Track:
    """Sums over the frames in which a face of a video was seen."""

    first: float
    last: float
    frames: int = 0
    unknown: int = 0
    answered: dict[str, int] = field(default_factory=dict)
    probabilities: dict[str, float] = field(default_factory=dict)


class ResultTable:
    """A table for a terminal: a line per face, per face of a whole video, per file without a face.

    Files that cannot be read have no line.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, str, str, str]] = []
        self._tracks: dict[int, _Track] = {}

    def add(self, record: Record) -> None:
        """Add a record; only sums of a video's frames are kept until the record of its end."""
        if record.video is not None:
            self._end_video(record)
        elif record.frame is not None:
            self._add_frame(record)
        elif record.error is None:
            for face in record.faces:
                shown = _confidence(face.label, face.confidence)
                answered_by = face.answered_by or ""
                self._rows.append((record.file, face.label, shown, answered_by, _box_text(face)))
            if not record.faces:
                self._add_empty(record)

    def print(self) -> None:
        """Print the table if it has a line."""
        columns = ("file", "emotion", ">confidence", "answered by", "face")
        # The last two are left out if they would be empty.
        kept = [place for place in range(5) if place < 3 or any(row[place] for row in self._rows)]
        shown = table(*(columns[place] for place in kept))
        for row in self._rows:
            shown.add_row(*(row[place] for place in kept))
        if self._rows:
            show(shown)

    def _add_frame(self, record: Record) -> None:
        time = record.time or 0.0
        for number, face in zip(record.tracks, record.faces, strict=True):
            track = self._tracks.setdefault(number, _Track(first=time, last=time))
            track.last = time
            track.frames += 1
            track.unknown += face.label == UNKNOWN
            if face.answered_by is not None:
                track.answered[face.answered_by] = track.answered.get(face.answered_by, 0) + 1
            for label, value in face.probabilities.items():
                track.probabilities[label] = track.probabilities.get(label, 0.0) + value

    def _end_video(self, record: Record) -> None:
        for number, track in sorted(self._tracks.items()):
            best = max(track.probabilities, key=track.probabilities.__getitem__)
            label = UNKNOWN if track.unknown > track.frames / 2 else best
            shown = _confidence(label, track.probabilities[best] / track.frames)
            times = f"{track.first:.2f} to {track.last:.2f} s"
            answered = ", ".join(f"{who} {count}" for who, count in sorted(track.answered.items()))
            self._rows.append(
                (record.file, label, shown, answered, f"#{number}, {times}, {track.frames} frames")
            )
        if not self._tracks and record.error is None:
            self._add_empty(record)
        self._tracks = {}

    def _add_empty(self, record: Record) -> None:
        self._rows.append((record.file, "no face", "", "", ""))


def _confidence(label: str, confidence: float) -> str:
    """Show no confidence for an unknown face: it would be that of an emotion that is not named."""
    return "" if label == UNKNOWN else f"{confidence:.1%}"


def _box_text(face: Prediction) -> str:
    """Return size and top left corner of a face; empty if the image is the face."""
    box = face.box
    if box is None:
        return ""
    return f"{box.width:.0f}x{box.height:.0f} at {box.x:.0f},{box.y:.0f}"
