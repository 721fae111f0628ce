"""Everything a device needs to run a MotivNet artifact; imports neither torch nor onnx."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motivnet.prediction import Box, Prediction
    from motivnet_engines.faces import open_detector
    from motivnet_engines.faces.detector import Face, FaceDetector
    from motivnet_engines.inference.classifier import EmotionClassifier
    from motivnet_engines.inference.results import ImageResult, Timing

__all__ = [
    "Box",
    "EmotionClassifier",
    "Face",
    "FaceDetector",
    "ImageResult",
    "Prediction",
    "Timing",
    "open_detector",
]

_MODULES = {
    "Box": "motivnet.prediction",
    "EmotionClassifier": "motivnet_engines.inference.classifier",
    "Face": "motivnet_engines.faces.detector",
    "FaceDetector": "motivnet_engines.faces.detector",
    "ImageResult": "motivnet_engines.inference.results",
    "Prediction": "motivnet.prediction",
    "Timing": "motivnet_engines.inference.results",
    "open_detector": "motivnet_engines.faces",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562), for the sake of the command in this package.

    NumPy and OpenCV take as long to import as all the rest of ``motivnet --help``.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
