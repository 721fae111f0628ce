"""Everything a device needs to run a MotivNet artifact; imports neither torch nor onnx."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motivnet.box import Box
    from motivnet.prediction import Prediction
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
    "Box": "motivnet.box",
    "EmotionClassifier": "motivnet_engines.inference.classifier",
    "Face": "motivnet_engines.faces.detector",
    "FaceDetector": "motivnet_engines.faces.detector",
    "ImageResult": "motivnet_engines.inference.results",
    "Prediction": "motivnet.prediction",
    "Timing": "motivnet_engines.inference.results",
    "open_detector": "motivnet_engines.faces",
}


def __getattr__(name: str) -> Any:
    """Imports what is public when it is asked for (PEP 562): the command lives in this package too.

    NumPy and OpenCV take as long to import as all the rest of ``motivnet --help``.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
