"""The command ``optimise``, of the benchmark and as ``motivnet-export`` hands over to it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from motivnet.config import ModelConfig

DRY_RUN = """
import sys
from motivnet_bench.cli import main

sys.argv = ["motivnet-bench", "optimise", *sys.argv[1:], "--dry-run"]
try:
    main()
finally:
    heavy = "torch onnx matplotlib sklearn onnxruntime openvino".split()
    print([name for name in heavy if name in sys.modules])
"""


def export(*words):
    return subprocess.run(
        [sys.executable, "-m", "motivnet_export", "optimise", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


def test_export_hands_over_options_help_and_exit_status(tiny_checkpoint, images):
    shown = export("--help")
    assert shown.returncode == 0
    assert "--max-drop POINTS" in shown.stdout
    assert "Usage: python -m motivnet_bench optimise" in shown.stdout

    wrong = export("--checkpoint", tiny_checkpoint, "--dataset", images, "--fast")
    assert wrong.returncode == 2
    assert "No such option: --fast" in wrong.stderr

    done = export("--checkpoint", tiny_checkpoint, "--dataset", images, "--dry-run", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["points"][0]["key"] == "128x96"


def test_folder_named_as_the_command_is_not_taken_for_an_artifact(
    run, tiny_checkpoint, images, tmp_path, monkeypatch
):
    (tmp_path / "optimise").mkdir()
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(
        *("optimise", "--checkpoint", tiny_checkpoint, "--dataset", images, "--dry-run")
    )
    assert code == 0
    assert "128x96" in out


def test_dry_run_prints_the_costs_without_pytorch(tiny_checkpoint, images):
    done = subprocess.run(
        [
            *(sys.executable, "-c", DRY_RUN, "--checkpoint", tiny_checkpoint),
            *("--dataset", images, "--max-gflop", "0.03", "--student"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.endswith("[]\n"), done.stderr
    lines = done.stdout.splitlines()
    config = ModelConfig.named("tiny")
    full = next(line for line in lines if line.startswith("128x96 "))
    assert full.split()[1:4] == [str(config.encoder.tokens), f"{config.flop / 1e9:.3g}", "1.0x"]
    assert full.endswith("above --max-gflop")
    assert any(line.startswith("student slim") for line in lines)
    assert sum(" of the tokens" in line for line in lines) >= 6


def test_dry_run_of_another_format_loads_it(run, tmp_path, images, tiny_model):
    import torch

    from motivnet.checkpoints.key_maps import published_from_model

    file = tmp_path / "MotivNet.pth"
    torch.save(published_from_model(tiny_model.state_dict()), file)
    code, out, _ = run("optimise", "--checkpoint", file, "--dataset", images, "--dry-run")

    assert code == 0
    assert "128x96" in out


@pytest.mark.parametrize(
    ("words", "said", "status"),
    [
        (("--checkpoint", "none.pth", "--dataset", "{images}"), "none.pth does not exist", 1),
        (("--checkpoint", "{model}", "--dataset", "none"), "none does not exist", 1),
        (
            (
                "--checkpoint",
                "{model}",
                "--dataset",
                "{images}",
                "--max-ms",
                "1",
                "--max-gflop",
                "1",
            ),
            "both limit the cost",
            1,
        ),
        (("--checkpoint", "{model}", "--dataset", "{images}", "--max-drop", "-1"), "--max-drop", 1),
        (("--checkpoint", "{model}", "--dataset", "{images}"), "images", 1),
        (("--dataset", "{images}"), "Missing option '--checkpoint'", 2),
    ],
)
def test_wrong_options_are_one_line(run, tiny_checkpoint, images, tmp_path, words, said, status):
    places = {"model": tiny_checkpoint, "images": images}
    code, out, err = run(
        "optimise", *(word.format(**places) for word in words), "--out", tmp_path / "out"
    )
    assert code == status
    assert said in err
    assert not out
    assert not (tmp_path / "out").exists()
