"""Every command in a hostile folder: it talks to nobody, leaves nothing at home, and runs nothing
that lies there.

Each package's commands run in a process of an environment of their own, whose every Python refuses
connections that leave the machine; child processes are of the same environment, those of Ray too.
What native code does beside Python shows by what it leaves at home. ModelOpt is not run here: its
environment is another one, which has to be downloaded and has no guard. It inherits the variables
that switch reports off, as every child does.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from motivnet.labels import EMOTIONS
from motivnet.synthetic import iterate_faces

HERE = Path(__file__).parent
pytestmark = pytest.mark.ray  # predict-dataset starts it

PLANTED = (
    *(
        "encodings",
        "ensurepip",
        "json",
        "pip",
        "runpy",
        "sitecustomize",
        "subprocess",
        "usercustomize",
        "venv",
    ),
    *(
        "cv2",
        "motivnet",
        "motivnet_bench",
        "motivnet_engines",
        "numpy",
        "onnx",
        "onnxruntime",
        "openvino",
        "torch",
    ),
    *("sklearn", "tensorrt_rtx"),
)
"""Modules in the working directory; each writes down that it was run."""

LEFT_BY_LIBRARIES = {".cache/matplotlib", ".config/matplotlib", ".cache/torch"}
"""Fonts, settings and kernels: caches of libraries, without anything of the user."""

SMALL = ("--target", "onnx", "--num-images", "1")

WEIGHTS = ("--checkpoint", "{checkpoint}")

COMMANDS: dict[str, list[tuple[str, ...]]] = {
    "motivnet_engines.cli": [
        ("predict", "{face}", "--artifact", "{artifact}", "--no-detect"),
        ("serve", "--artifact", "{artifact}", "--no-detect", "--port", "0"),
        ("serve", "--artifact", "{artifact}", "--export-triton", "triton"),
        ("calibrate", "{artifact}", "{faces}"),
        ("adapt", "{artifact}", "{faces}", "--out", "classes.npz"),
        ("build-engine", "{artifact}", "--backend", "tensorrt-rtx", "--out", "engine"),
        ("verify", "{artifact}"),
        ("inspect", "{artifact}"),
        ("inspect", "{artifact}", "--footprint"),
        ("doctor",),
        (
            "predict-dataset",
            "{faces}",
            "--artifact",
            "{artifact}",
            "--no-detect",
            "--workers",
            "1",
            "--out",
            "rows",
        ),
    ],
    "motivnet_export.cli": [
        (
            "build",
            "--model",
            "tiny",
            "--precision",
            "int8",
            *SMALL,
            "--calibration-images",
            "{faces}",
            "--out",
            "built",
        ),
        ("onnx", "--checkpoint", "{checkpoint}", "--out", "model.onnx"),
        ("verify", "{artifact}", *WEIGHTS, "--num-images", "1"),
        ("inspect", "{artifact}"),
    ],
    "motivnet_training.cli": [
        ("datasets", "{faces}"),
        (
            "cache",
            "--data",
            "{faces}",
            "--encoder",
            "{checkpoint}",
            "--out",
            "tokens",
            "--device",
            "cpu",
        ),
        ("fit", "--data", "{faces}", "--epochs", "1", "--device", "cpu", "--out", "run"),
        (
            *("refit", "{checkpoint}", "--data", "{faces}", "--image-size", "64x48"),
            *("--epochs", "1", "--device", "cpu", "--out", "smaller"),
        ),
        (
            *("distill", "--teacher", "{checkpoint}", "--data", "{faces}", "--model", "tiny"),
            *("--image-size", "64x48", "--epochs", "1", "--views", "1", "--device", "cpu"),
            *("--out", "student"),
        ),
        ("demo", "--faces", "14", "--epochs", "1", "--out", "demo.safetensors"),
    ],
    "motivnet_bench.cli": [
        ("optimise", *WEIGHTS, "--dataset", "{faces}", "--dry-run"),
        ("groups", "{artifact}", "{faces}", "--by", "age", "--table", "{table}", "--out", "groups"),
        (
            *("robustness", "{artifact}", "{faces}", "--disturbance", "blur", "--limit", "1"),
            *("--out", "robustness"),
        ),
        ("card", "{artifact}", "--out", "card"),
        (
            "latency",
            "{artifact}",
            *WEIGHTS,
            "--rounds",
            "1",
            "--seconds",
            "0.01",
            "--threads",
            "1",
        ),
        ("accuracy", "{artifact}", "{faces}", "--limit", "1"),
        (
            "gate",
            "{artifact}",
            *WEIGHTS,
            "--max-drop",
            "100",
            "--dataset",
            "{faces}",
            "--limit",
            "1",
        ),
        ("report", "{artifact}"),
        (
            "viability",
            "{checkpoint}",
            "--encoder",
            "{checkpoint}",
            "--device",
            "cpu",
            "--out",
            "viability",
        ),
    ],
}

HANDED_OVER = {("motivnet_export.cli", "optimise"), ("motivnet_engines.cli", "card")}
"""Commands that become another process, which runs that of another module."""

LONG = {"build", "fit", "refit", "distill", "latency", "report"}
"""They build, train and measure for ten seconds and more; a report is of what ``latency`` found."""

FAILING = {"demo"}
"""14 faces are too few to learn from. INT8 falls back to FP16, because ModelOpt is missing."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with all that this one has, and with the guard."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", folder], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "guard.py").write_text((HERE / "guard.py").read_text())
    found = [path for path in sys.path if Path(path).is_absolute()]
    (packages / "_all.pth").write_text("\n".join([*found, "import guard"]) + "\n")
    return folder / "bin" / "python"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A working directory with modules in it that no command asks for."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in PLANTED:
        text = (
            "import os\nwith open(os.environ['CANARY'], 'a') as log: log.write(__name__ + '\\n')\n"
        )
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """The commands find an empty home, no package index, and an empty item in PYTHONPATH."""
    kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    (tmp_path / "home").mkdir()
    return kept | {
        # pip asks a rustc on PATH for its version, and that of rustup writes into the home
        "PATH": os.defpath,
        "HOME": str(tmp_path / "home"),
        "GUARD_LOG": str(tmp_path / "refused"),
        "CANARY": str(tmp_path / "ran"),
        "OUTCOMES": str(tmp_path / "outcomes"),
        "PYTHONPATH": os.pathsep,
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faces")
    for index, face in enumerate(iterate_faces(140, seed=7, size=(64, 48))):
        folder = root / EMOTIONS[index % 7]
        folder.mkdir(exist_ok=True)
        Image.fromarray(face).save(folder / f"{index:03}.png")
    return root


def quick_and_all() -> list[Any]:
    """Each package's commands without the long ones, and then with them."""
    quick = [
        pytest.param(module, [line for line in COMMANDS[module] if line[0] not in LONG])
        for module in COMMANDS
    ]
    long = [module for module, lines in COMMANDS.items() if LONG & {line[0] for line in lines}]
    return quick + [
        pytest.param(module, COMMANDS[module], marks=pytest.mark.slow) for module in long
    ]


@pytest.mark.parametrize(("module", "commands"), quick_and_all())
def test_a_command_talks_to_nobody_leaves_nothing_and_runs_nothing_of_the_folder(
    module: str,
    commands: list[tuple[str, ...]],
    environment: Path,
    hostile: Path,
    variables: dict[str, str],
    tmp_path: Path,
    faces: Path,
    copied_artifact: Path,
    tiny_checkpoint: Path,
) -> None:
    names = {"artifact": copied_artifact, "checkpoint": tiny_checkpoint, "faces": faces}
    names["face"] = next(faces.rglob("*.png"))
    names["table"] = tmp_path / "people.csv"
    rows = (f"{each.relative_to(faces)},{each.stem[-1]}\n" for each in faces.rglob("*.png"))
    names["table"].write_text("file,age\n" + "".join(rows))
    lines = [["command", *(word.format(**names) for word in words)] for words in commands]
    line = [environment, "-I", HERE / "commands.py", module, json.dumps(lines)]
    done = subprocess.run(
        line, cwd=hostile, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = [[words[0], int(words[0] in FAILING)] for words in commands]
    assert json.loads((tmp_path / "outcomes").read_text()) == expected, done.stderr
    assert not (tmp_path / "refused").exists(), (tmp_path / "refused").read_text()
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
    assert left_at_home(tmp_path / "home") <= {".cache/motivnet", ".local/state/motivnet"}


def left_at_home(home: Path) -> set[str]:
    """The folders of the programs that left a file there, but for caches of libraries."""
    files = (path.relative_to(home) for path in home.rglob("*") if path.is_file())
    depth = {".cache": 2, ".config": 2, ".local": 3}
    return {
        str(Path(*path.parts[: depth.get(path.parts[0], 1)])) for path in files
    } - LEFT_BY_LIBRARIES


@pytest.fixture
def copied_artifact(fp16_artifact: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(fp16_artifact, tmp_path / "artifact"))


def test_every_command_is_run_here() -> None:
    for module, lines in COMMANDS.items():
        app = importlib.import_module(module).app
        group = typer.main.get_command(app)
        elsewhere = {command for owner, command in HANDED_OVER if owner == module}
        assert {words[0] for words in lines} == set(group.commands) - elsewhere
