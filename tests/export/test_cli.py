"""The command as a person calls it: results on standard output, one line for a mistake, status."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from motivnet import command_line
from motivnet.artifact import Artifact, open_artifact
from motivnet.errors import MotivNetError, RuntimeUnavailableError
from motivnet_engines.build import backend
from motivnet_export.cli import app
from motivnet_export.tables import describe_engine


def result(*arguments: str) -> dict:
    outcome = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert outcome.exit_code == 0
    return json.loads(outcome.stdout)


def test_build_without_out_goes_to_a_folder_of_the_checkpoints_name(
    small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "mine.safetensors").write_bytes(small_checkpoint.read_bytes())
    # Both compilers are here, and --target onnx asks for neither.
    monkeypatch.setattr(backend, "_loads", lambda name: True)
    options = "--fp16 --num-images 1 --input uint8 --preprocess square-white-pad --target onnx"
    built = result("build", *options.split())
    assert built["folder"] == "artifacts/mine"
    manifest = built["manifest"]
    assert manifest["precision"] == "fp16"
    assert manifest["engines"] == []
    assert manifest["input"]["dtype"] == "uint8"
    assert "square-white-pad" in json.dumps(manifest["input"])
    assert (tmp_path / "artifacts" / "mine" / "manifest.json").is_file()


def test_auto_compiles_ahead_of_time_where_only_tensorrt_rtx_is(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx")
    out = tmp_path / "out"
    options = ["--checkpoint", str(small_checkpoint), "--out", str(out), "--fp16"]
    outcome = CliRunner().invoke(
        app, ["build", *options, "--num-images", "1"], catch_exceptions=False
    )
    [engine] = open_artifact(out).manifest.engines
    assert (engine.backend, engine.attention) == ("tensorrt-rtx", "fused")
    assert "engine tensorrt-rtx" in outcome.stdout
    assert "compiled and never run; on the device: motivnet verify" in outcome.stdout


def test_without_an_engine_the_reason_or_the_way_to_one_is_said(
    small_artifact: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = small_artifact()
    assert "none was asked for" in describe_engine("onnx", artifact)
    monkeypatch.setattr(backend, "_loads", lambda name: name == "tensorrt-rtx")
    monkeypatch.setattr(backend, "capabilities_here", lambda: ())
    assert "the warning above says why" in describe_engine("auto", artifact)
    monkeypatch.setattr(backend, "_loads", lambda name: False)
    text = describe_engine("auto", artifact)
    assert "pip install 'motivnet[rtx]'" in text
    assert "motivnet build-engine" in text


def test_inspect_prints_precision_attention_sizes_preprocessing_and_parity(
    small_artifact: Callable[..., Artifact],
) -> None:
    command = ["inspect", str(small_artifact().folder)]
    text = CliRunner().invoke(app, command, catch_exceptions=False).stdout
    for part in (
        "100% float16",
        "2 Attention",
        "MB",
        "stretch to 128 x 96",
        "passed on 2 images",
        "anger",
    ):
        assert part in text


def test_verify_prints_a_row_per_runtime_and_fails_without_one(
    small_artifact: Callable[..., Artifact],
    small_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["verify", str(small_artifact().folder), "--checkpoint", str(small_checkpoint)]
    report = result(*words, "--num-images", "1")
    assert {"pytorch", "onnxruntime", "openvino"} <= {
        row["backend"] for row in report["comparisons"]
    }
    monkeypatch.setattr("motivnet_export.parity_check.installed_runtimes", lambda artifact, **_: ())
    assert isinstance(CliRunner().invoke(app, words).exception, MotivNetError)


def test_onnx_writes_one_file(small_checkpoint: Path, tmp_path: Path) -> None:
    options = ["--checkpoint", str(small_checkpoint), "--out", str(tmp_path / "a.onnx")]
    assert result("onnx", *options)["files"] == [str(tmp_path / "a.onnx")]
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("build --checkpoint missing.pth", "does not exist"),
        ("build --checkpoint .", "is a directory"),
        ("build --model sapiens-9b", "choose one of"),
        ("build --model tiny --fp16 --precision bf16", "--fp16 and --precision bf16 contradict"),
        ("build --model tiny --fp16 --int8", "--fp16 and --int8 contradict each other; give one"),
        ("build --model tiny --images missing --target onnx", "missing does not exist"),
        ("build --model tiny --calibration-images .", "--calibration-images is for INT8 and FP8"),
        ("build --model tiny --target onnx --sm 86", "--sm is for --target tensorrt-rtx"),
        ("build --model tiny --target tensorrt-rtx --sm 90", "does not compile for SM 90"),
        ("verify missing", "does not exist"),
        ("inspect .", "is not an artifact"),
        ("build", "no checkpoint in checkpoints/"),
    ],
)
def test_mistake_is_one_line_and_exit_1_and_writes_nothing(
    arguments: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "tensorrt-rtx" in arguments:
        pytest.importorskip("tensorrt_rtx")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["motivnet-export", *arguments.split()])
    with pytest.raises(SystemExit) as caught:
        command_line.run(app)
    said = capsys.readouterr().err
    assert caught.value.code == 1
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert message in said
    assert list(tmp_path.iterdir()) == []


def test_tensorrt_without_a_gpu_names_the_two_ways_out_before_anything_is_done(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    words = ["build", "--checkpoint", str(small_checkpoint), "--out", str(tmp_path / "out")]
    with pytest.raises(
        RuntimeUnavailableError, match=r"motivnet build-engine.*--target tensorrt-rtx"
    ):
        CliRunner().invoke(app, [*words, "--target", "tensorrt"], catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "onnx", "onnxruntime", "openvino", "cv2", "numpy")
    program = (
        "import sys; from typer.testing import CliRunner; from motivnet_export.cli import app;"
        "assert CliRunner().invoke(app, ['build', '--help']).exit_code == 0;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
