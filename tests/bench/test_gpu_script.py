"""``bench/gpu.sh`` with stand-ins for all programs that it calls: what it installs, its steps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomllib
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]

PYTHON = f"""#!/bin/sh
echo "python $*" | head -n 1 >> "$CALLS"
[ "$1" = -c ] || exit 0
case "$2" in
  *find_spec*) ;;
  *'version("tensorrt")'*) echo 11.4.0.106 ;;
  *) exec {sys.executable} "$@" ;;
esac
"""
MOTIVNET = """#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case "$*" in
  "doctor --json") echo "$DOCTOR" ;;
  build\\ *--out*)
    while [ "$1" != --out ]; do shift; done
    mkdir "$2" && echo {} > "$2/manifest.json" ;;
esac
"""

Done = tuple[subprocess.CompletedProcess[str], list[str]]


@pytest.fixture
def gpu_script(tmp_path: Path) -> Callable[..., Done]:
    """A function that runs a copy of the script, and gives the calls that it made in order."""
    (tmp_path / "bench").mkdir()
    shutil.copy(ROOT / "bench" / "gpu.sh", tmp_path / "bench")
    programs = {
        "nvidia-smi": "#!/bin/sh\necho 'GPU 0: NVIDIA L4'",
        "python": PYTHON,
        "motivnet": MOTIVNET,
        "motivnet-export": MOTIVNET,
        "motivnet-bench": MOTIVNET,
    }
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)

    def ran(*, possible: bool = True, fix: str | None = None) -> Done:
        runtime: dict[str, Any] = {"name": "tensorrt", "possible": possible, "fix": fix}
        doctor = {"runtimes": [{"name": "openvino", "possible": False, "fix": None}, runtime]}
        for one in doctor["runtimes"]:
            one["detail"] = f"about {one['name']}"
        environment = {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "VENV": str(folder.parent),
            "CALLS": str(tmp_path / "calls"),
            "OUT": str(tmp_path / "out"),
            "DOCTOR": json.dumps(doctor),
        }
        done = subprocess.run(
            ["bash", "bench/gpu.sh"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done, (tmp_path / "calls").read_text().splitlines()

    return ran


def packages_of(extras: list[str]) -> set[str]:
    """The packages that extras of the project install, without their versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for extra in extras for line in project["optional-dependencies"][extra]]
    found = {Requirement(line).name for line in lines}
    return found - {"motivnet"}


def test_what_it_installs_can_judge_every_precision(gpu_script: Callable[..., Done]) -> None:
    _, calls = gpu_script()

    [line] = [call for call in calls if "--editable" in call]
    extras = line.partition("[")[2].partition("]")[0].split(",")
    packages = packages_of(extras)
    assert {"torch", "tensorrt", "onnxruntime-gpu"} <= packages
    assert "openvino" in packages, "ONNX Runtime has no BF16 on the CPU"
    assert "onnxruntime" not in packages, "it overwrites onnxruntime-gpu"


def test_the_lean_runtime_is_that_of_the_installed_version(gpu_script: Callable[..., Done]) -> None:
    assert "python -m pip install --quiet tensorrt-lean==11.4.0.106" in gpu_script()[1]


def test_the_libraries_of_cuda_come_with_onnxruntime() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [requirement] = map(Requirement, project["optional-dependencies"]["gpu"])
    assert (requirement.name, requirement.extras) == ("onnxruntime-gpu", {"cuda", "cudnn"})
    assert "1.23" not in requirement.specifier


def test_it_ends_after_the_doctor_where_no_engine_can_run(gpu_script: Callable[..., Done]) -> None:
    done, calls = gpu_script(possible=False, fix="pip install tensorrt-cu12")

    assert done.returncode == 1
    assert done.stderr.endswith(
        "no tensorrt engine can run here: about tensorrt; pip install tensorrt-cu12\n"
    )
    assert not [call for call in calls if "pytest tests" in call or "build" in call]


def test_an_engine_is_measured_at_the_batch_size_that_it_was_tuned_for(
    gpu_script: Callable[..., Done],
) -> None:
    done, calls = gpu_script()

    assert done.returncode == 0, done.stderr
    steps = [call for call in calls if call.startswith(("motivnet-bench", "motivnet build"))]
    latencies = [step.split()[2:7] for step in steps if step.startswith("motivnet-bench")]
    artifact = latencies[0][0]
    assert [(words[0], words[-1]) for words in latencies] == [
        (artifact, "1"),
        (f"{artifact}-8", "8"),
    ]
    assert f"motivnet build-engine {artifact}-8 --backend tensorrt --opt-batch 8" in steps
