"""Importing any of our modules switches off what dependencies report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, sys
import {module}
try:
    import openvino_telemetry
except ImportError:
    openvino_telemetry = None
names = ("ORT_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED")
print(json.dumps([openvino_telemetry is None, *map(os.environ.get, names)]))
"""


def reported(module: str, **variables: str) -> list[bool | str | None]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "RAY_"))
    }
    line = [sys.executable, "-c", PROGRAM.format(module=module)]
    done = subprocess.run(line, env=kept | variables, capture_output=True, text=True, check=True)
    found: list[bool | str | None] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "module",
    [
        "motivnet",
        "motivnet_engines.cli",
        "motivnet_export.cli",
        "motivnet_training.cli",
        "motivnet_bench.cli",
    ],
)
def test_reports_are_off_before_anything_else_is_imported(module: str) -> None:
    assert reported(module) == [True, "1", "0"]


def test_what_the_user_has_set_stays() -> None:
    assert reported("motivnet", ORT_DISABLE_TELEMETRY="0", RAY_USAGE_STATS_ENABLED="1") == [
        True,
        "0",
        "1",
    ]


@pytest.mark.parametrize("package", ["openvino", "onnxruntime"])
def test_a_runtime_leaves_nothing_at_home(package: str, tmp_path: Path) -> None:
    adapter = {
        "openvino": "motivnet_engines.runtimes.openvino_",
        "onnxruntime": "motivnet_engines.runtimes.onnxruntime_",
    }[package]
    program = f"import {adapter}, time; time.sleep(1)"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
    subprocess.run([sys.executable, "-c", program], env=kept | {"HOME": str(tmp_path)}, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
