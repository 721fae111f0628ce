from __future__ import annotations

import json
import sys

import pytest

from motivnet_bench import cli


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs the command in this process: exit status, standard output, standard error."""

    def call(*words) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["motivnet-bench", "criteria", *map(str, words)])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        out, err = capsys.readouterr()
        return int(exit_info.value.code or 0), out, err

    return call


def test_a_run_leaves_its_page_and_the_json_that_it_prints(
    run, tiny_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(
        tiny_checkpoint, "--encoder", tiny_checkpoint, "--device", "cpu", "--json"
    )
    assert (status, err) == (0, "")
    folder = tmp_path / "artifacts" / "criteria-tiny"
    assert {path.name for path in folder.iterdir()} == {"criteria.json", "criteria.html"}
    printed = json.loads(out)
    assert printed == json.loads((folder / "criteria.json").read_bytes())
    assert printed["kind"] == "criteria"
    assert (
        printed["command"]
        == "motivnet-bench criteria tiny.safetensors --encoder tiny.safetensors --device cpu"
    )


def test_a_terminal_gets_tables_and_the_place_of_the_page(run, tiny_checkpoint, tmp_path):
    for _ in range(2):  # the second takes the place of the first
        status, out, _ = run(
            tiny_checkpoint, "--encoder", tiny_checkpoint, "--out", tmp_path / "out"
        )
        assert status == 0
    assert "Common parameters" in out
    assert out.endswith(f"report: {tmp_path / 'out' / 'criteria.html'}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to judge by"),
        (("--data", "nowhere"), "--data and --reference go together"),
        (("--test", "nowhere"), "nowhere is not a folder"),
        (("--data", "nowhere", "--reference", "nowhere"), "nowhere is not a folder"),
        (("--encoder", "nowhere.pth"), "nowhere.pth does not exist"),
        (("--encoder", "x", "--preprocess", "crop"), "no input recipe is called 'crop'"),
        (("--encoder", "x", "--device", "tpu"), "no device is called 'tpu'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_1(
    run, tiny_checkpoint, tmp_path, monkeypatch, words, said
):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(tiny_checkpoint, *words)
    assert (status, out) == (1, "")
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
