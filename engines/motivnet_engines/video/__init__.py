"""Emotions in videos: files, cameras and streams, read with PyAV (``motivnet[video]``)."""

from motivnet_engines.video.results import FrameResult, TrackedFace, VideoSummary
from motivnet_engines.video.source import (
    VIDEO_SUFFIXES,
    VideoSource,
    camera,
    is_video,
    video_source,
)

__all__ = [
    "VIDEO_SUFFIXES",
    "FrameResult",
    "TrackedFace",
    "VideoSource",
    "VideoSummary",
    "camera",
    "is_video",
    "video_source",
]
