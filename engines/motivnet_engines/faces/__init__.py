"""Find the faces in a picture and crop them for the model."""

from __future__ import annotations

import hashlib
from pathlib import Path

from motivnet.errors import FileError
from motivnet.files import read_bytes
from motivnet_engines.faces.detector import Face, FaceDetector

__all__ = ["YUNET", "YUNET_SHA256", "Face", "FaceDetector", "open_detector"]

YUNET = Path(__file__).with_name("face_detection_yunet_2023mar.onnx")
"""The model of YuNet (MIT, see ``LICENSE.yunet``)."""
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"


def open_detector(path: Path | None = None) -> FaceDetector:
    """Open YuNet, the face detector of OpenCV's model zoo.

    Args:
        path: A copy of its model; the one installed with this package if None.

    Raises:
        FileError: If the file is missing or is not that model: OpenCV's native code would parse it.
    """
    from motivnet_engines.faces.yunet import YuNetDetector

    path = path or YUNET
    model = read_bytes(path, max_bytes=1 << 24)
    if hashlib.sha256(model).hexdigest() != YUNET_SHA256:
        raise FileError(
            f"{path} is not {YUNET.name} (SHA-256 {YUNET_SHA256}); "
            "leave out --detector for the one that is installed"
        )
    return YuNetDetector(model)
