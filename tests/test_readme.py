"""The README's commands, run as they stand there in a folder that has the files they name."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import av
import cv2
import pytest
import torch

from motivnet.checkpoints import load_model
from motivnet.checkpoints.key_maps import published_from_model
from motivnet.config import ModelConfig
from motivnet.labels import labels_for
from motivnet.synthetic import draw_face
from motivnet_export.build import build_artifact
from motivnet_export.request import BuildRequest

README = Path(__file__).resolve().parents[1] / "README.md"
NOT_RUN = {
    "make demo": "trains for a minute; the parts of it are run here",
    "make test": "runs this test",
    "pip install": "is what the wheel's own test is for",
    "motivnet-bench --model sapiens-0.3b": "takes ten minutes; run with the tiny size here",
    "motivnet-train fit": "needs the weights of a published encoder; tests/training runs it",
    "motivnet-train demo": "trains for a minute; a slow test runs it",
    "motivnet predict --camera": "needs a camera",
    "motivnet predict-dataset": "starts Ray; tests/engines/serving/ray runs it",
    "motivnet serve --artifact": "serves until it is stopped; tests/engines/serving runs it",
    "curl": "needs the service; tests/engines/serving runs it",
    "serve run": "starts Ray; tests/engines/serving/ray runs the application",
}


def fences(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def commands() -> list[str]:
    lines = [line.split("#")[0].strip() for fence in fences("sh") for line in fence.splitlines()]
    return [line for line in lines if line]


def skipped(command: str) -> bool:
    return any(command.startswith(start) for start in NOT_RUN)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """A folder with every file that the README's commands name."""
    root = tmp_path_factory.mktemp("readme")
    (root / "checkpoints").mkdir()
    shutil.copy(tiny_checkpoint, root / "checkpoints" / "demo.safetensors")
    build_artifact(
        BuildRequest(
            checkpoint=root / "checkpoints" / "demo.safetensors",
            out=root / "artifacts" / "demo",
            precision="fp16",
            parity_images=1,
        )
    )
    torch.save(
        published_from_model(load_model(tiny_checkpoint).state_dict()), root / "MotivNet.pth"
    )
    (root / "faces").mkdir()
    for label in labels_for(7):
        save_face(root / "faces" / f"{label}.png", label)
        (root / "FOLDER" / label).mkdir(parents=True)
        for seed in range(20):
            save_face(root / "FOLDER" / label / f"{seed}.png", label, seed=seed)
    save_face(root / "photo.jpg", "happiness")
    (root / "photos").mkdir()
    save_face(root / "photos" / "face.jpg", "sadness")
    save_clip(root / "clip.mp4")
    return root


def save_face(path: Path, label: str, *, seed: int = 5) -> None:
    cv2.imwrite(str(path), draw_face(label, seed=seed, size=(256, 192))[:, :, ::-1])


def save_clip(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 192, 256
        for seed in range(11):
            pixels = draw_face("surprise", seed=seed, size=(256, 192))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=250, check=False
    )


def test_every_reason_for_not_running_a_command_is_still_needed() -> None:
    for start in NOT_RUN:
        assert any(command.startswith(start) for command in commands()), start


@pytest.mark.parametrize("command", [command for command in commands() if not skipped(command)])
def test_command_runs(command: str, folder: Path) -> None:
    words = shlex.split(command)
    if words[0] == "motivnet-bench" and not {"accuracy", "criteria"} & set(words):
        words += ["--rounds", "1", "--duration", "0.05"]
    if words[:2] == ["motivnet-export", "build"]:
        words += ["--parity-images", "2"]
    if "gate" in words:  # random weights of a tiny size promise neither a speed-up nor an accuracy
        words[words.index("--min-speedup") + 1], words[words.index("--max-drop") + 1] = (
            "0.001",
            "100",
        )
    done = run(words, folder)
    assert done.returncode in ({0, 1} if command == "motivnet doctor" else {0}), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("code", fences("python"))
def test_python_runs_as_printed(code: str, folder: Path) -> None:
    done = run([sys.executable, "-c", code], folder)
    assert done.returncode == 0, done.stderr
    if "predict" in code:
        assert done.stdout.split()[0] in labels_for(7)


def test_configuration_is_a_configuration(tmp_path: Path) -> None:
    (text,) = fences("json")
    (tmp_path / "config.json").write_text(text)
    assert ModelConfig.from_json(tmp_path / "config.json") == ModelConfig.named("tiny")


def test_every_link_leads_to_a_file() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text()):
        assert target.startswith("https://") or (README.parent / target).exists(), target
