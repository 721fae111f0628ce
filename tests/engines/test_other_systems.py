"""The torch-free part on macOS, as far as Linux can show it, and what Windows is told."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

LIKE_MACOS = Path(__file__).with_name("like_macos.py")
LIKE_WINDOWS = (
    "import sys; sys.modules.update(dict.fromkeys(('fcntl', 'grp', 'pwd', 'resource')))\n"
    "from importlib import import_module\n"
    "main = import_module(sys.argv.pop(1)).main; sys.platform = 'win32'; main()"
)


def run_like_macos(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(LIKE_MACOS), "motivnet", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_faces_are_found_and_classified(
    runtime: str, copied_artifact, pixels, tmp_path: Path
) -> None:
    folder = copied_artifact(verified=(runtime,)).folder
    image, out = tmp_path / "face.png", tmp_path / "out.csv"
    Image.fromarray(pixels(1)[0]).save(image)
    run_like_macos("predict", str(image), "--artifact", str(folder), "--no-detect",
                   "--out", str(out), "--annotate", str(tmp_path / "drawn"))  # fmt: skip
    [row] = csv.DictReader(out.read_text().splitlines())
    assert (row["file"], row["error"]) == (str(image), "")
    assert run_like_macos("predict", str(image), "--artifact", str(folder)).startswith("file")


def test_an_artifact_is_verified_and_its_footprint_measured(copied_artifact) -> None:
    folder = str(copied_artifact(verified=("onnxruntime",)).folder)
    assert "passed" in run_like_macos("verify", folder, "--runtime", "onnxruntime")
    assert "cold start" in run_like_macos("inspect", folder, "--footprint")


def test_the_process_that_measures_memory_connects_and_tells_what_the_system_tells(
    copied_artifact,
) -> None:
    folder = str(copied_artifact(verified=("onnxruntime",)).folder)
    module = "motivnet_engines.diagnostics.first_prediction"
    line = [sys.executable, str(LIKE_MACOS), module, f"1:{os.getpid()}", folder, "onnxruntime"]
    done = subprocess.run(line, stdin=subprocess.PIPE, capture_output=True, check=True)
    told = json.loads(done.stdout)
    assert told["resident"] is None
    assert told["peak"] > 10_000


def test_doctor_tells_what_can_run_and_leaves_out_what_the_system_does_not_tell() -> None:
    page = run_like_macos("doctor")
    for words in (
        "arm (arm64)",
        "BF16           not told by this system",
        "GiB in all",
        "onnxruntime       yes",
    ):
        assert words in page


@pytest.mark.parametrize(
    "program",
    ["motivnet_engines.cli", "motivnet_export.cli", "motivnet_training.cli", "motivnet_bench.cli"],
)
def test_windows_is_told_in_a_line_that_it_is_not_supported(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIKE_WINDOWS, program, "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr == "error: Windows is not supported; run this in WSL 2, or on Linux or macOS\n"
    )


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("motivnet", ["predict", "face.png", "--artifact", "a"]),
        ("motivnet", ["serve", "--artifact", "a"]),
        ("motivnet_export", ["build", "--model", "tiny"]),
        ("motivnet_training", ["demo"]),
        ("motivnet_bench", ["latency", "a"]),
    ],
)
def test_an_opencv_that_cannot_be_loaded_is_one_line(
    module: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run_with_broken("cv2", tmp_path, monkeypatch, module, *arguments)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(
        "error: cv2 is installed but cannot be loaded: libGL.so.1: cannot open shared object file"
    )
    assert line.endswith("pip install opencv-python-headless")


@pytest.mark.parametrize(
    ("package", "status"), [("cv2", 1), ("numpy", 1), ("PIL", 1), ("onnxruntime", 0), ("av", 0)]
)
def test_doctor_tells_which_package_cannot_be_loaded(
    package: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run_with_broken(package, tmp_path, monkeypatch, "motivnet", "doctor")
    assert (done.returncode, done.stderr) == (status, "")
    assert f"{package} cannot be loaded: libGL.so.1: cannot open shared object" in done.stdout
    assert "can be run" in done.stdout


def run_with_broken(
    package: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    *arguments: str,
) -> subprocess.CompletedProcess[str]:
    (folder / f"{package}.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file')"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False
    )
