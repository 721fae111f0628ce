"""What a worker of a cluster imports is what a device imports: no torch, even where it is installed."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import motivnet_engines.serving.ray.application, motivnet_engines.serving.ray.dataset, motivnet_engines.serving.triton
print(sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "lightning", "onnx", "tritonclient"}))
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
