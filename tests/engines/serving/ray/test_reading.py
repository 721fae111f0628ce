"""What a worker opens, and what it imports: the packages of a device, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from motivnet.errors import ConfigError
from motivnet_engines.serving.ray.reading import ReadingOptions, open_classifier

PROGRAM = """
import sys
import motivnet_engines.serving.ray.application
import motivnet_engines.serving.ray.dataset
import motivnet_engines.serving.triton
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"torch", "lightning_fabric", "onnx", "tritonclient"}))
"""

CLI = "import sys, motivnet_engines.cli.predict_dataset; print('ray' in sys.modules)"


def output(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_neither_torch_nor_tritons_client_is_imported() -> None:
    assert output(PROGRAM) == "[]"


def test_the_commands_help_does_not_wait_for_ray() -> None:
    assert output(CLI) == "False"


def test_faces_are_looked_for_unless_told_no(fp32_artifact: Path) -> None:
    with open_classifier(ReadingOptions(artifact=str(fp32_artifact))) as classifier:
        assert classifier.detector is not None
    with open_classifier(ReadingOptions(artifact=str(fp32_artifact), no_detect=True)) as classifier:
        assert classifier.detector is None


def test_a_detector_that_would_not_be_used_is_refused() -> None:
    with pytest.raises(ConfigError, match="no_detect needs no detector; leave out one of them"):
        ReadingOptions(artifact="demo", no_detect=True, detector="yunet.onnx")
