"""Results as CSV (RFC 4180): one row a face, and one with empty fields where there is none."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from motivnet.prediction import Prediction
from motivnet.printable import printable_lines
from motivnet_engines.writers.records import Record

_PLACE = ("file", "frame", "time", "width", "height", "face", "track")
_FACE = (
    "x",
    "y",
    "face_width",
    "face_height",
    "score",
    "label",
    "confidence",
    "known",
    "distance",
    "energy",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With one of these in front, the last four as wide as an ideograph, a spreadsheet computes a text
(OWASP, CSV injection); an apostrophe stops it."""
_LONGEST = 10_000


def csv_header(labels: Sequence[str]) -> str:
    """The row of names; ``labels`` are those of the probabilities."""
    return _csv_text([[*_PLACE, *_FACE, *map(_safe, labels), "error"]])


def csv_rows(record: Record, labels: Sequence[str]) -> str:
    """A row for each face of a record, the largest first, counted from 1; a single row where there
    is none.

    The end of a video has a row only if something is missing.
    """
    if record.video is not None and record.error is None:
        return ""
    place = [_safe(record.file), record.frame, record.time, record.width, record.height]
    if not record.faces:
        nothing: list[object] = [None] * (2 + len(_FACE) + len(labels))
        return _csv_text([[*place, *nothing, _safe(record.error or "")]])
    tracks = record.tracks or (None,) * len(record.faces)
    return _csv_text(
        [*place, number, track, *_face_fields(face, labels), ""]
        for number, (face, track) in enumerate(zip(record.faces, tracks, strict=True), 1)
    )


def _face_fields(face: Prediction, labels: Sequence[str]) -> list[object]:
    box = [None] * 4 if face.box is None else list(face.box.to_dict().values())
    known = None if face.known is None else str(face.known).lower()
    judged = [face.score, _safe(face.label), face.confidence, known, face.distance, face.energy]
    return [*box, *judged, *(face.probabilities[label] for label in labels)]


def _csv_text(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _safe(text: str) -> str:
    """The text with visible escapes, because CSV is read at terminals too; its lines stay, in quotes."""
    shown = printable_lines(text, limit=_LONGEST)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
