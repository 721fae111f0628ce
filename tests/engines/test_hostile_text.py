"""Text of a stranger's artifacts and file names: every command shows it, no terminal obeys it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from typer import Typer

from motivnet.artifact import open_artifact
from motivnet.synthetic import draw_face
from motivnet_bench import cli as bench
from motivnet_engines import cli as engines
from motivnet_export import cli as export
from motivnet_training import cli as training

HOSTILE = (
    "\x1b[31m\x1b]52;c;aGk=\x07\x1b]8;;https:a.org\x1b\\\u202e\u2066\u200b\x9b2J"
    "[red] :o: $x$\r\nerror: forged"
)
NAME = f"{HOSTILE}.png"
Run = Callable[..., SimpleNamespace]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """A function that runs a command in this process and in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(cli: Any, *arguments: object) -> SimpleNamespace:
        assert isinstance(cli.app, Typer)
        monkeypatch.setattr(sys, "argv", ["motivnet", *map(str, arguments)])
        with pytest.raises(SystemExit) as raised:
            cli.main()
        out, err = capfd.readouterr()
        for text in (out, err):
            assert text.replace("\n", "").isprintable()
            assert "Traceback" not in text
        said = err if "csv" in arguments else out + err  # a line end in a field of CSV is in quotes
        assert not any(line.startswith("error: forged") for line in said.splitlines())
        return SimpleNamespace(status=raised.value.code or 0, out=out, err=err)

    return run


@pytest.fixture
def hostile_artifact(fp32_artifact: Path, copied_artifact, tmp_path: Path) -> Path:
    """An artifact with a hostile text in every string of its manifest that is free."""
    folder = copied_artifact(verified=("onnxruntime",)).folder
    manifest = json.loads((folder / "manifest.json").read_bytes())
    row = manifest["parity"]["comparisons"][0]
    manifest["parity"] |= {"image_source": HOSTILE, "warnings": [HOSTILE]}
    manifest["parity"]["comparisons"].append(
        {**row, "backend": HOSTILE, "compute": HOSTILE, "failures": [HOSTILE]}
    )
    manifest |= {"tools": {HOSTILE: HOSTILE}, "requested_precision": "fp8"}
    manifest["attempts"] = [{"precision": "fp8", "reason": HOSTILE, "attention": None}]
    for block in manifest["parity"]["activations"]:
        block["block"] = HOSTILE
    if manifest["source"]["checkpoint"]:
        manifest["source"]["checkpoint"] = HOSTILE.replace("\\", "")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Path(folder).rename(tmp_path / f"a{HOSTILE}")


@pytest.mark.parametrize(
    "words", [["inspect"], ["inspect", "--json"], ["verify"], ["verify", "--json"]], ids=" ".join
)
def test_the_strings_of_a_manifest_are_shown(
    run: Run, hostile_artifact: Path, words: list[str]
) -> None:
    done = run(engines, *words, hostile_artifact)
    assert done.status == 0
    assert words[0] == "verify" or "[31m" in done.out
    if "--json" in words:
        json.loads(done.out)


@pytest.mark.parametrize("words", [["inspect"], ["inspect", "--json"], ["verify"]], ids=" ".join)
def test_the_strings_of_a_manifest_are_inspected(
    run: Run, hostile_artifact: Path, words: list[str]
) -> None:
    done = run(export, *words, hostile_artifact)
    assert "[31m" in done.out + done.err


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_the_name_of_a_picture_is_shown(run: Run, hostile_artifact: Path, form: str) -> None:
    Image.fromarray(draw_face("anger", seed=1, size=(96, 96))).save(NAME)
    words = ["--artifact", hostile_artifact, "--no-detect", "--format", form]
    done = run(engines, "predict", ".", *words, "--annotate", "copies", "--montage", "sheet.png")
    assert (done.status, "[31m" in done.out) == (0, True)
    assert Path("copies", NAME).is_file()
    Path(NAME).write_text("no picture")
    done = run(engines, "predict", ".", *words)
    assert done.status == 1
    *left_out, error = done.err.splitlines()
    assert error.startswith("error: \\x1b[31m")
    assert all(line.startswith("warning: .: left out ") for line in left_out)


@pytest.mark.parametrize(
    ("cli", "words"),
    [
        (engines, ["inspect", f"no{HOSTILE}"]),
        (engines, ["inspect", f"--{HOSTILE}"]),
        (engines, [HOSTILE]),
        (engines, ["inspect", "a" * 300]),
        (engines, ["predict", HOSTILE]),
        (engines, ["predict", ".", "--runtime", HOSTILE]),
        (engines, ["predict", ".", "--threads", HOSTILE]),
        (export, ["build", "--checkpoint", HOSTILE]),
        (export, ["onnx", "--model", HOSTILE]),
        (export, ["build", "--model", "tiny", "--num-images", str(10**9)]),
        (bench, ["report", HOSTILE]),
        (bench, [f"./{HOSTILE}"]),
        (bench, ["--model", "tiny", "--timeout", "1e30"]),
        (bench, ["--model", "tiny", "--threads", str(10**9)]),
        (training, ["datasets", HOSTILE]),
        (training, ["datasets", ".", "--num-classes", str(10**9)]),
        (training, ["fit", "--data", ".", "--seed", str(10**30)]),
        (training, ["fit", "--data", HOSTILE, "--recipe", HOSTILE]),
    ],
)
def test_what_a_user_pasted_comes_back_as_text(run: Run, cli: Any, words: list[str]) -> None:
    done = run(cli, *words)
    assert done.status in (1, 2)
    assert "error: " in done.err.lower()


def test_what_a_dataset_calls_its_files_and_classes_is_shown(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in ("anger", "happiness", HOSTILE.replace("/", "")):
        Path("faces", folder).mkdir(parents=True)
        Image.fromarray(draw_face("anger", seed=1, size=(96, 96))).save(Path("faces", folder, NAME))
    Path("faces/anger", f"bad{NAME}").write_text("no picture")
    done = run(training, "datasets", "faces", "--sheet", "sheet.png")
    assert (done.status, "[31m" in caplog.text) == (0, True)
    Path("list.json").write_text(
        json.dumps({"0": [f"faces/anger/{NAME}", "nul\0.png"], HOSTILE: []})
    )
    assert run(training, "datasets", "list.json").status == 1
    Path("list.json").write_text(json.dumps({"0": [f"faces/anger/{NAME}", "nul\0.png", HOSTILE]}))
    done = run(training, "datasets", "list.json")
    assert (done.status, "unreadable" in caplog.text) == (0, True)
    assert all(message.isprintable() for message in caplog.messages)


def test_the_shown_strings_are_those_of_the_file(hostile_artifact: Path) -> None:
    assert HOSTILE in open_artifact(hostile_artifact).manifest.tools
