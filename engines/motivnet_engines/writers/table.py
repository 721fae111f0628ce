"""Results as a table at a terminal."""

from __future__ import annotations

from dataclasses import dataclass

from motivnet.prediction import UNKNOWN, Prediction
from motivnet.terminal import show, table
from motivnet_engines.writers.records import Record

NO_FACE = "no face"


@dataclass(slots=True)
class _Track:
    """A face of a video, as the sums of what was seen of it."""

    first: float
    last: float
    frames: int
    unknown: int
    probabilities: dict[str, float]


class ResultTable:
    """A line per face, per face of a whole video, and per file without a face; none for what could not be read."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, str, str]] = []
        self._tracks: dict[int, _Track] = {}

    def add(self, record: Record) -> None:
        """Takes a record; of a video's frames only sums are kept, until the record of its end."""
        if record.video is not None:
            self._end_video(record)
        elif record.frame is not None:
            self._add_frame(record)
        elif record.error is None:
            self._rows += [_face_row(record.file, face) for face in record.faces] or [
                _empty_row(record.file)
            ]

    def print(self) -> None:
        """Prints the table, if it has a line."""
        placed = any(row[3] for row in self._rows)
        shown = table("file", "emotion", ">confidence", *(["face"] if placed else []))
        for row in self._rows:
            shown.add_row(*(row if placed else row[:3]))
        if self._rows:
            show(shown)

    def _add_frame(self, record: Record) -> None:
        for number, face in zip(record.tracks, record.faces, strict=True):
            time = record.time or 0.0
            track = self._tracks.setdefault(
                number, _Track(first=time, last=time, frames=0, unknown=0, probabilities={})
            )
            track.last = time
            track.frames += 1
            track.unknown += face.label == UNKNOWN
            for label, value in face.probabilities.items():
                track.probabilities[label] = track.probabilities.get(label, 0.0) + value

    def _end_video(self, record: Record) -> None:
        rows = [
            _track_row(record.file, number, track) for number, track in sorted(self._tracks.items())
        ]
        if not rows and record.error is None:
            rows = [_empty_row(record.file)]
        self._rows += rows
        self._tracks = {}


def place_text(face: Prediction) -> str:
    """Size and top left corner of a face, as ``166x225 at 178,151``; empty where the image is the face."""
    if face.box is None:
        return ""
    box = face.box
    return f"{box.width:.0f}x{box.height:.0f} at {box.x:.0f},{box.y:.0f}"


def _face_row(file: str, face: Prediction) -> tuple[str, str, str, str]:
    return file, face.label, _confidence(face.label, face.confidence), place_text(face)


def _confidence(label: str, confidence: float) -> str:
    """Empty for an unknown face: the number would be that of the emotion which is not said."""
    return "" if label == UNKNOWN else f"{confidence:.1%}"


def _track_row(file: str, number: int, track: _Track) -> tuple[str, str, str, str]:
    likeliest = max(track.probabilities, key=track.probabilities.__getitem__)
    label = UNKNOWN if track.unknown > track.frames / 2 else likeliest
    mean = _confidence(label, track.probabilities[likeliest] / track.frames)
    return (
        file,
        label,
        mean,
        f"#{number}, {track.first:.2f} to {track.last:.2f} s, {track.frames} frames",
    )


def _empty_row(file: str) -> tuple[str, str, str, str]:
    return file, NO_FACE, "", ""
