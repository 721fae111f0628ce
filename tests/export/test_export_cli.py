"""The command as a person calls it: results on standard output, one line for a mistake, exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from motivnet.errors import MotivNetError
from motivnet_export.cli import app


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys; from motivnet_export.cli import main; sys.argv[0] = 'motivnet-export'; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def result(*arguments: str) -> dict:
    outcome = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert outcome.exit_code == 0
    return json.loads(outcome.stdout)


def test_build_without_out_goes_to_a_folder_of_the_checkpoints_name(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "mine.safetensors").write_bytes(tiny_checkpoint.read_bytes())
    built = result(
        "build",
        "--fp16",
        "--parity-images",
        "1",
        "--input",
        "uint8",
        "--preprocess",
        "square-white-pad",
    )
    assert built["folder"] == "artifacts/mine"
    manifest = built["manifest"]
    assert manifest["precision"] == "fp16"
    assert manifest["input"]["dtype"] == "uint8"
    assert manifest["input"]["recipe"]["name"] == "square-white-pad"
    assert (tmp_path / "artifacts" / "mine" / "manifest.json").is_file()


def test_inspect_prints_precision_attention_sizes_recipe_and_parity(fp16_artifact: Path) -> None:
    text = CliRunner().invoke(app, ["inspect", str(fp16_artifact)], catch_exceptions=False).stdout
    for part in (
        "100% float16",
        "6 Attention",
        "MB",
        "stretch to 128 x 96",
        "passed on 4 images",
        "anger",
    ):
        assert part in text


def test_verify_prints_a_row_per_runtime(fp16_artifact: Path, tiny_checkpoint: Path) -> None:
    report = result(
        "verify", str(fp16_artifact), "--checkpoint", str(tiny_checkpoint), "--parity-images", "1"
    )
    assert {"pytorch", "onnxruntime", "openvino"} <= {
        row["backend"] for row in report["comparisons"]
    }


def test_onnx_writes_one_file(tiny_checkpoint: Path, tmp_path: Path) -> None:
    exported = result(
        "onnx", "--checkpoint", str(tiny_checkpoint), "--out", str(tmp_path / "a.onnx")
    )
    assert exported["files"] == [str(tmp_path / "a.onnx")]
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "--checkpoint", "missing.pth"], "does not exist"),
        (["build", "--checkpoint", "."], "is a directory"),
        (["build", "--model", "sapiens-9b"], "choose one of"),
        (["build", "--model", "tiny", "--fp16", "--precision", "bf16"], "contradict"),
        (["build", "--model", "tiny", "--calibration", "missing"], "not a folder"),
        (["verify", "missing"], "does not exist"),
        (["inspect", "."], "is not an artifact"),
        (["build"], "no checkpoint in checkpoints/"),
    ],
)
def test_mistake_is_one_line_and_exit_1_and_writes_nothing(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(*arguments)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from typer.testing import CliRunner; from motivnet_export.cli import app;"
        "assert CliRunner().invoke(app, ['build', '--help']).exit_code == 0;"
        "print([name for name in ('torch', 'onnx', 'onnxruntime', 'openvino', 'cv2', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_verify_of_an_artifact_that_fails_exits_1(
    fp16_artifact: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motivnet_export.parity_check.installed_runtimes", lambda artifact, **_: ())
    words = [
        "verify",
        str(fp16_artifact),
        "--checkpoint",
        str(tiny_checkpoint),
        "--parity-images",
        "1",
    ]
    outcome = CliRunner().invoke(app, words)
    assert isinstance(outcome.exception, MotivNetError)
