"""What a build says while it works where there is no terminal, and what Ctrl-C leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from motivnet import terminal
from motivnet_engines.system import machine
from motivnet_engines.system.machine import Processor
from motivnet_export.cli import app

OPTIONS = ["--model", "tiny", "--fp16", "--target", "onnx"]


@pytest.mark.parametrize(
    ("flags", "emulated"),
    [
        ({"avx2", "avx512_bf16"}, ", emulated by this processor"),
        ({"avx512_fp16"}, ""),
        (set(), ""),  # a system that does not list them
    ],
)
def test_the_stages_of_a_build_are_announced(
    flags: set[str],
    emulated: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(terminal, "ANNOUNCED_AFTER", 0.0)
    processor = Processor(name="a processor", flags=frozenset(flags))
    monkeypatch.setattr(machine, "read_processor", lambda: processor)
    caplog.set_level("INFO", "motivnet.terminal")
    arguments = ["build", *OPTIONS, "--num-images", "2", "--out", str(tmp_path / "out")]
    arguments += ["--exact-rounding"]
    CliRunner().invoke(app, arguments, catch_exceptions=False)
    for stage in (
        "PyTorch in FP32 on 2 images",
        f"PyTorch in float16 on 2 images{emulated}",
        "exporting fp16",
        "opening onnxruntime",
    ):
        assert f"{stage} ..." in caplog.messages
        assert any(message.startswith(f"{stage}: ") for message in caplog.messages)


@pytest.mark.process
def test_an_interruption_while_the_rounding_is_measured_leaves_a_line_and_no_file(
    tmp_path: Path,
) -> None:
    program = (
        "from motivnet import terminal; terminal.ANNOUNCED_AFTER = 0.0\n"
        "from motivnet_export.cli import main; main()"
    )
    arguments = ["build", *OPTIONS, "--num-images", "400", "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stderr=subprocess.PIPE, text=True
    ) as building:
        assert building.stderr is not None
        for line in building.stderr:
            if line.startswith("PyTorch in float16 on 400 images"):
                break
        building.send_signal(signal.SIGINT)
        rest = building.stderr.read()
    assert building.returncode == 130
    assert rest.splitlines()[-1] == "error: stopped by Ctrl-C; nothing was written"
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
