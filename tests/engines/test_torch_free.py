"""A device has no torch: all that it runs works without torch, onnx and their relatives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

FORBIDDEN = ("torch", "lightning_fabric", "onnx", "onnxscript", "onnx_ir", "safetensors")

PROGRAM = """
import json, sys

forbidden, folder, image = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]

class Forbidding:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in forbidden:
            raise AssertionError(f"{name} was imported")

def no_network(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        raise AssertionError(f"{event} {arguments}")

sys.meta_path.insert(0, Forbidding())
sys.addaudithook(no_network)

import motivnet_engines
from motivnet_engines import cli
from motivnet_engines.diagnostics import doctor
from motivnet_engines.runtimes import fake
from motivnet_engines.inference import image_files
from motivnet_engines.diagnostics import inspect
from motivnet_engines.system import machine
from motivnet_engines.diagnostics import tables
from motivnet_engines.inference.classifier import EmotionClassifier

labels = {}
for runtime in ("onnxruntime", "openvino"):
    with EmotionClassifier.open(folder, runtime=runtime, threads=1) as classifier:
        labels[runtime] = classifier.predict(image)[0].label
inspect.inspect_artifact(folder)
doctor.diagnose()
loaded = sorted({name.partition(".")[0] for name in sys.modules} & set(forbidden))
print(json.dumps({"labels": labels, "loaded": loaded}))
"""


def run_program(
    folder: Path, image: Path, *, forbidden: tuple[str, ...]
) -> subprocess.CompletedProcess[str]:
    arguments = [json.dumps(forbidden), str(folder), str(image)]
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def image(tmp_path: Path, pixels) -> Path:
    path = tmp_path / "face.png"
    Image.fromarray(pixels(1)[0]).save(path)
    return path


def test_both_cpu_runtimes_predict_without_torch_and_without_the_network(
    copied_artifact, image: Path
) -> None:
    folder = copied_artifact(verified=("onnxruntime", "openvino")).folder
    done = run_program(folder, image, forbidden=FORBIDDEN)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["loaded"] == []
    assert document["labels"]["onnxruntime"] == document["labels"]["openvino"]


def test_the_hook_of_this_test_really_forbids(copied_artifact, image: Path) -> None:
    done = run_program(copied_artifact().folder, image, forbidden=("onnxruntime",))
    assert done.returncode != 0
    assert "AssertionError: onnxruntime was imported" in done.stderr
