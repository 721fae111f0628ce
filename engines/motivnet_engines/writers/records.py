"""One value for an image and for a frame of a video, which every writer takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from motivnet.prediction import Prediction
from motivnet_engines.inference.image_files import FileResult
from motivnet_engines.inference.results import Timing
from motivnet_engines.video.results import FrameResult, VideoSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of one image or frame.

    Args:
        file: Its path as it was given, or the name of the camera or stream.
        frame: The number of the frame; None for an image.
        time: Seconds from the beginning of the video; None for an image.
        tracks: The number of each face's track; empty for an image.
        timing: None where there is no result.
        error: Why there is no result, or no more of them; None where all is well.
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
        """Plain JSON values; frame, time and tracks of a frame alone, each face's embedding where asked for."""
        if self.video is not None:
            return {"file": self.file, "video": self.video.to_dict(), "error": self.error}
        faces = [
            {**face.to_dict(), **({"embedding": _numbers(face)} if embeddings else {})}
            for face in self.faces
        ]
        if self.frame is not None:
            faces = [
                {"track": track, **face} for track, face in zip(self.tracks, faces, strict=True)
            ]
        moment = {} if self.frame is None else {"frame": self.frame, "time": self.time}
        size = {"width": self.width, "height": self.height}
        timing = None if self.timing is None else asdict(self.timing)
        return {
            "file": self.file,
            **moment,
            **size,
            "faces": faces,
            "timing": timing,
            "error": self.error,
        }


def record_of_file(found: FileResult) -> Record:
    """The record of an image."""
    if found.result is None:
        return Record(file=str(found.path), error=found.error)
    result = found.result
    return Record(
        file=str(found.path),
        width=result.width,
        height=result.height,
        faces=result.faces,
        timing=result.timing,
    )


def record_of_frame(found: FrameResult) -> Record:
    """The record of a frame."""
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


def record_of_end(found: VideoSummary) -> Record:
    """The record that ends a video, with its error if it is not complete."""
    return Record(file=found.name, error=found.error, video=found)


def _numbers(face: Prediction) -> list[float] | None:
    """The embedding with the digits that tell its float32 values apart, and no more."""
    return None if face.embedding is None else [float(str(value)) for value in face.embedding]
