"""Records: one value for an image, a frame or the end of a video, which every writer takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from motivnet.prediction import Prediction
from motivnet_engines.inference.image_files import FileResult
from motivnet_engines.inference.results import Timing
from motivnet_engines.video.results import FrameResult, VideoSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The result of an image or frame.

    Args:
        file: The path as given, or the name of the camera or stream.
        frame: The number of the frame; None for an image.
        time: Seconds from the beginning of the video; None for an image.
        tracks: The number of each face's track; empty for an image.
        timing: None if there is no result.
        error: Why there is no result or no further result; None if there is no error.
        video: At the end of a video, how much of it was seen.
    """

    file: str
    width: int | None = None
    height: int | None = None
    faces: tuple[Prediction, ...] = ()
    timing: Timing | None = None
    error: str | None = None
    frame: int | None = None
    time: float | None = None
    tracks: tuple[int, ...] = ()
    video: VideoSummary | None = None

    def to_dict(self, *, embeddings: bool = False) -> dict[str, Any]:
        """Return plain JSON values; only frames have a number, a time and tracks."""
        if self.video is not None:
            return {"file": self.file, "video": asdict(self.video), "error": self.error}
        faces = [face.to_dict() for face in self.faces]
        if embeddings:
            for face, document in zip(self.faces, faces, strict=True):
                # str() gives only the digits that distinguish a value from other float32 values.
                numbers = () if face.embedding is None else map(float, map(str, face.embedding))
                document["embedding"] = list(numbers) or None
        moment: dict[str, Any] = {}
        if self.frame is not None:
            moment = {"frame": self.frame, "time": self.time}
            tracks = zip(self.tracks, faces, strict=True)
            faces = [{"track": track, **face} for track, face in tracks]
        return {
            "file": self.file,
            **moment,
            "width": self.width,
            "height": self.height,
            "faces": faces,
            "timing": None if self.timing is None else asdict(self.timing),
            "error": self.error,
        }


def record_from_file(found: FileResult) -> Record:
    """Return the record of an image."""
    if found.result is None:
        return Record(file=found.name, error=found.error)
    result = found.result
    return Record(
        file=found.name,
        width=result.width,
        height=result.height,
        faces=result.faces,
        timing=result.timing,
    )


def record_from_frame(found: FrameResult) -> Record:
    """Return the record of a frame."""
    return Record(
        file=found.name,
        width=found.width,
        height=found.height,
        faces=tuple(face.prediction for face in found.faces),
        timing=found.timing,
        frame=found.index,
        time=found.time,
        tracks=tuple(face.track for face in found.faces),
    )


def record_from_summary(found: VideoSummary) -> Record:
    """Return the record that ends a video, with its error if it is not complete."""
    return Record(file=found.name, error=found.error, video=found)
