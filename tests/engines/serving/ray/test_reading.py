from __future__ import annotations

from pathlib import Path

import pytest

from motivnet.errors import ConfigError
from motivnet_engines.serving.ray.reading import ReadingOptions, opened_classifier


def test_faces_are_looked_for_unless_told_no(fp32_artifact: Path) -> None:
    with opened_classifier(ReadingOptions(artifact=str(fp32_artifact))) as classifier:
        assert classifier.detector is not None
    with opened_classifier(
        ReadingOptions(artifact=str(fp32_artifact), no_detect=True)
    ) as classifier:
        assert classifier.detector is None


def test_a_detector_that_would_not_be_used_is_refused() -> None:
    with pytest.raises(ConfigError, match="no_detect needs no detector; leave out one of them"):
        ReadingOptions(artifact="demo", no_detect=True, detector="yunet.onnx")
