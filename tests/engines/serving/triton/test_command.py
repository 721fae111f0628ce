"""``motivnet serve --export-triton``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2

from motivnet import command_line
from motivnet.artifact import Artifact
from motivnet_engines.cli import app


def status_of(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> Any:
    """What the command ends with, run in this process."""
    monkeypatch.setattr("sys.argv", ["motivnet", "serve", *map(str, arguments)])
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    with pytest.raises(SystemExit) as ended:
        command_line.run(app)
    return ended.value.code


def test_the_options_of_the_command_are_those_of_the_repository(
    monkeypatch, parsed, engine_artifact: Artifact, tmp_path: Path
) -> None:
    out = tmp_path / "models"
    options = "--triton-form onnx --max-batch 3 --max-delay-ms 0.7 --triton-instances 2"
    arguments = ["--artifact", engine_artifact.folder, "--export-triton", out, *options.split()]
    arguments += ["--triton-device", "cpu"]
    assert status_of(monkeypatch, *arguments) == 0
    model = parsed(out, "motivnet_model")
    assert model.backend == "onnxruntime"
    assert model.max_batch_size == 3
    assert model.dynamic_batching.max_queue_delay_microseconds == 700
    [group] = model.instance_group
    assert (group.count, group.kind) == (2, model_config_pb2.ModelInstanceGroup.KIND_CPU)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--export-triton", "models", "--token-file", "token"),
            "--token-file is not for --export-triton",
        ),
        (("--export-triton", "models", "--no-detect"), "--no-detect is not for --export-triton"),
        (
            ("--export-triton", "models", "--port", "8000"),
            "--port is not for --export-triton",
        ),  # its default, given
        (("--export-triton", "models", "--queue", "9"), "--queue is not for --export-triton"),
        (("--triton-instances", "2"), "--triton-instances is for --export-triton alone"),
    ],
)
def test_an_option_that_would_be_left_undone_is_refused_by_name(
    monkeypatch,
    capsys,
    arguments: tuple[str, ...],
    message: str,
    fp32_artifact: Path,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert status_of(monkeypatch, "--artifact", fp32_artifact, *arguments) == 1
    assert capsys.readouterr().err == f"error: {message}; leave it out\n"
    assert list(tmp_path.iterdir()) == []
