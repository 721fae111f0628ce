"""Fixtures of the training tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest
import torch
from torch import Tensor

from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face
from motivnet_training.checkpointing import read_state


@pytest.fixture(scope="session")
def face_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faces")
    for emotion in EMOTIONS[:7]:
        (root / emotion).mkdir()
        for seed in range(6):
            cv2.imwrite(
                str(root / emotion / f"{seed}.png"), draw_face(emotion, seed=seed, size=(80, 60))
            )
    (root / "anger" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root


@dataclass(frozen=True)
class Ended:
    """How a run of ``motivnet-train`` ended; ``alone`` is whether no process of it is left.

    ``statuses`` are those of its ranks; what the first one said is in ``said``.
    """

    statuses: list[int]
    alone: bool
    said: str

    @property
    def status(self) -> int:
        return self.statuses[0]


class Trainings:
    """A process that runs ``motivnet-train fit`` on a few drawn faces, with a very small model."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder

    def arguments(self, out: Path, *options: str) -> list[str]:
        """Train for 2 epochs of 4 steps on 28 images in 7 batches; 14 are validated in 4."""
        files = {"--data": "faces", "--model": "small.json", "--config": "recipe.yaml"}
        named = [
            word for option, name in files.items() for word in (option, str(self.folder / name))
        ]
        return ["fit", *named, "--out", str(out), "--device", "cpu", *options]

    def fit(
        self, out: Path, *options: str, fault: dict[str, object] | None = None, ranks: int = 1
    ) -> Ended:
        """Run with additional options; the fault happens in the run."""
        log = out.with_suffix(".log")
        arguments = self.arguments(out, *options)
        request = {"arguments": arguments, "log": str(log), "fault": fault, "ranks": ranks}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return Ended(**json.loads(self.process.stdout.readline()), said=log.read_text())


@pytest.fixture(scope="session")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainings]:
    folder = tmp_path_factory.mktemp("trainings")
    for emotion in EMOTIONS[:7]:
        (folder / "faces" / emotion).mkdir(parents=True)
        for seed in range(6):
            cv2.imwrite(
                str(folder / "faces" / emotion / f"{seed}.png"),
                draw_face(emotion, seed=seed, size=(48, 40)),
            )
    encoder = {"embed_dim": 8, "depth": 1, "num_heads": 2, "patch_size": 16, "image_size": [32, 32]}
    decoder = {"embed_dim": 8, "num_heads": 2, "depth": 1, "mlp_dim": 8}
    (folder / "small.json").write_text(json.dumps({"encoder": encoder, "decoder": decoder}))
    (folder / "recipe.yaml").write_text(
        "epochs: 2\nbatch_size: 4\naccumulate: 2\nvalidation_share: 0.25\n"
    )
    command = [sys.executable, str(Path(__file__).with_name("training_server.py"))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        yield Trainings(process, folder)
        process.communicate(timeout=30)


def _flat(value: object, name: str = "") -> dict[str, object]:
    """Every value by its place; a tensor as its type, shape and bytes."""
    if isinstance(value, dict):
        return {
            place: v
            for key, part in value.items()
            for place, v in _flat(part, f"{name}.{key}").items()
        }
    if isinstance(value, (list, tuple)):
        return {
            place: v
            for key, part in enumerate(value)
            for place, v in _flat(part, f"{name}.{key}").items()
        }
    if isinstance(value, Tensor):
        return {
            name: (value.dtype, value.shape, value.contiguous().view(-1).view(torch.uint8).tolist())
        }
    return {name: value}


def _outcome(run: Path) -> dict[str, object]:
    """All results of a training, but not how long it took."""
    state = read_state(run / "last.ckpt")
    summary = json.loads((run / "summary.json").read_text())
    del summary["seconds"], summary["checkpoint"]
    files = {
        name: (run / name).read_bytes()
        for name in ("best.safetensors", "last.safetensors", "metrics.csv")
    }
    return _flat({"state": state, "summary": summary, "files": files})


@dataclass(frozen=True)
class Outcome:
    """All results of a training by place."""

    values: dict[str, object]

    def differences(self, run: Path) -> list[str]:
        """The places in which another training has different results."""
        other = _outcome(run)
        return [name for name in self.values | other if self.values.get(name) != other.get(name)]


@pytest.fixture(scope="session")
def uninterrupted(trainings: Trainings, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    ended = trainings.fit(out)
    assert ended.status == 0, ended.said
    return Outcome(_outcome(out))
