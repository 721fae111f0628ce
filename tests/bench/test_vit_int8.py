"""The benchmark of a large ViT in FP32, BF16 and INT8."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from motivnet import schema
from motivnet.dependencies import is_installed
from motivnet_bench import vit_int8
from motivnet_bench.vit_int8 import Result, Row, main, markdown_of

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "vit_int8.sh"

needs_nncf = pytest.mark.skipif(
    not is_installed("nncf"), reason="needs nncf: pip install 'motivnet[int8-cpu]'"
)


def test_the_table_names_the_machine_and_every_row() -> None:
    row = Row(
        image_size=(256, 192),
        tokens=192,
        graph="int8",
        rest="BF16",
        linear_layers={"int8": 96, "bfloat16": 11},
        split_attentions=0,
        milliseconds=123.4,
        ratio=3.21,
        rounds=6,
    )
    result = Result(
        model="sapiens-0.3b",
        depth=24,
        processor="This CPU",
        instructions=(),
        cores=2,
        tools={"openvino": "1.2"},
        rows=(row,),
    )
    first, _, *table = markdown_of(result).splitlines()
    assert "This CPU, 2 cores, neither BF16 nor INT8 instructions; openvino 1.2" in first
    assert table[2] == (
        "| 256x192 | 192 | linear layers in INT8 | BF16 | 96 of 107 | 0 | 123.4 | 3.21x |"
    )
    assert len({line.count("|") for line in table}) == 1


def test_an_unknown_size_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sizes", "100x100", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@needs_nncf
@pytest.mark.slow
def test_the_script_measures_one_block(tmp_path: Path) -> None:
    environment = {**os.environ, "VENV": sys.prefix, "INSTALL": "no"}
    line = [str(SCRIPT), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "vit_int8.md").read_text(encoding="utf-8")
    result = schema.decode((tmp_path / "vit_int8.json").read_bytes(), vit_int8.Result)
    assert {row.graph for row in result.rows} == {"float", "int8", "int8-all"}
    [plain] = {row.linear_layers.get("int8", 0) for row in result.rows if row.graph == "float"}
    assert plain == 0
