from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import psutil
import pytest

from motivnet_bench.latency import measure
from motivnet_bench.latency.candidate_process import CandidateProcess
from motivnet_bench.latency.statistics import summarise_candidates
from motivnet_bench.report.files import write_latency

HELP = """
import sys
from motivnet_bench.cli import main

for words in ([], *([name] for name in "latency accuracy viability optimise report gate".split())):
    sys.argv = ["motivnet-bench", *words, "--help"]
    try:
        main()
    except SystemExit as end:
        assert not end.code
heavy = "numpy torch matplotlib sklearn psutil onnxruntime openvino cv2".split()
print([name for name in heavy if name in sys.modules])
"""


@pytest.mark.parametrize(
    "words", [(), ("--rounds", "1"), ("artifacts/none",), ("latency", "artifacts/none")]
)
def test_latency_is_the_default_command(run, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*words)
    assert code == 1
    assert "build an artifact" in err or "build one" in err


def test_a_mistyped_command_is_not_taken_for_an_artifact(run):
    code, _, err = run("acuracy")
    assert code == 2
    assert "No such command" in err


def test_help_imports_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-c", HELP], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.endswith("[]\n"), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("latency", "nowhere"), "nowhere does not exist; build an artifact with"),
        ((), "there is no artifact in artifacts/"),
        (("--model", "huge"), "no model is called 'huge'"),
        (("latency", "nowhere", "--model", "tiny"), "leave out the artifact and --checkpoint"),
        (("--seconds", "0"), "--seconds must be above 0 and at most 3,600, not 0"),
        (("--timeout", "nan"), "--timeout must be above 0 and at most 1,000,000, not nan"),
        (("--model", "tiny", "--baseline", "int4"), "no baseline is called 'int4'; choose from"),
        (("--model", "tiny", "--runtime", "abacus"), "abacus"),
        (("--model", "tiny", "--device", "cuda"), "PyTorch sees no CUDA device here"),
        (("gate", "--min-speedup", "2", "--baseline", "x"), "no baseline is called 'x'"),
        (("gate",), "nothing to check"),
        (("gate", "--max-drop", "1"), "--max-drop and --dataset go together"),
        (("gate", "--min-speedup", "-1"), "--min-speedup must be a positive number"),
        (
            ("gate", "--max-drop", "1", "--dataset", ".", "--runtime", "pytorch"),
            "--max-drop compares a runtime with PyTorch: name another one with --runtime",
        ),
        (("report", "nowhere.json"), "nowhere.json does not exist"),
        (("accuracy", "nowhere", "nowhere"), "nowhere does not exist"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_1(run, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*words)
    assert (status, out) == (1, "")
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("--model", "tiny", "--precision", "fp4"),
        ("--device", "tpu"),
        ("viability", "x.safetensors", "--device", "tpu"),
    ],
)
def test_a_choice_that_does_not_exist_is_a_usage_error(run, words):
    status, _, err = run(*words)
    assert status == 2
    assert f"'{words[-1]}' is not one of" in err


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("--rounds", "0"), "--rounds"),
        (("--batch-size", "-1"), "--batch-size"),
        (("--threads", "0"), "--threads"),
        (("--warmup", "-1"), "--warmup"),
        (("accuracy", "a", "b", "--threads", "0"), "--threads"),
        (("accuracy", "a", "b", "--limit", "0"), "--limit"),
        (("viability", "a", "--seed", "-1"), "--seed"),
        (("gate", "--rounds", "0"), "--rounds"),
    ],
)
def test_a_number_out_of_range_is_a_usage_error_that_names_its_option(run, words, option):
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert f"Invalid value for '{option}'" in err


@pytest.fixture
def work(fp16_artifact, tmp_path, monkeypatch):
    """A working directory with one artifact."""
    shutil.copytree(fp16_artifact, tmp_path / "artifacts" / "demo")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_arguments_the_newest_artifact_is_measured(
    run, work, tiny_checkpoint, plant_result, monkeypatch
):
    def measured(target, options, *, command_line):
        assert (target.name, target.checkpoint) == ("demo", tiny_checkpoint)
        assert (options.rounds, options.seconds, options.runtimes) == (2, 0.25, ("openvino",))
        return plant_result(command_line=command_line)

    monkeypatch.setattr(measure, "measure_latency", measured)
    words = ("--checkpoint", tiny_checkpoint, "--rounds", "2", "--seconds", "0.25", "--json")
    status, out, err = run(*words, "--runtime", "openvino")
    assert (status, err) == (0, "")
    demo = work / "artifacts" / "demo"
    names = {path.name for path in demo.glob("report.*")}
    assert names == {"report.html", "report.json", "report.md"}
    assert (demo / "report.json").read_text() == out
    assert json.loads(out)["command_line"] == (
        "motivnet-bench latency artifacts/demo --checkpoint tiny.safetensors "
        "--rounds 2 --seconds 0.25 --runtime openvino"
    )


def test_a_terminal_gets_the_table_and_the_place_of_the_report(
    run, work, tiny_checkpoint, plant_result, monkeypatch
):
    monkeypatch.setattr(measure, "measure_latency", lambda *_, **__: plant_result())
    status, out, _ = run("artifacts/demo", "--checkpoint", tiny_checkpoint, "--out", "report")
    assert status == 0
    assert "openvino (default)" in out
    assert out.endswith("report: report/report.html\n")


@pytest.fixture
def interrupt_after(monkeypatch):
    """Sends this process a signal as soon as so many rounds of candidates were measured."""

    def plant(number: signal.Signals, rounds: int) -> None:
        measure_round = CandidateProcess.measure
        measured = []

        def measure_then_signal(process, seconds, **options):
            measure_round(process, seconds, **options)
            measured.append(process)
            if len(measured) == rounds:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(CandidateProcess, "measure", measure_then_signal)

    return plant


QUICK = ("--device", "cpu", "--seconds", "0.001", "--threads", "1", "--runtime", "onnxruntime")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_benchmark_reports_the_rounds_that_it_has(
    run, work, tiny_checkpoint, interrupt_after, number
):
    interrupt_after(number, 3)
    words = ("--checkpoint", tiny_checkpoint, *QUICK, "--baseline", "fp32", "--out", "report")
    status, out, err = run("artifacts/demo", *words)
    assert (status, err) == (130, "")
    assert "Interrupted after 1 of 5 rounds.\nreport: report/report-interrupted.html\n" in out
    result = json.loads((work / "report" / "report-interrupted.json").read_bytes())
    assert result["interrupted_after"] == 1
    rounds = [len(row["metrics"]["latency"]["round_medians"]) for row in result["candidates"]]
    assert rounds == [1, 2]
    assert psutil.Process().children() == []
    status, _, err = run("gate", "report/report-interrupted.json", "--min-speedup", "0.001")
    assert status == 1
    assert "interrupted after 1 of 5 rounds" in err


def test_an_interrupt_before_the_first_round_leaves_nothing_but_a_line(
    run, work, tiny_checkpoint, monkeypatch
):
    def interrupt(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(CandidateProcess, "open", interrupt)
    words = ("--checkpoint", tiny_checkpoint, "--device", "cpu", "--out", work / "out")
    said = "interrupted before the first round: nothing was measured\n"
    assert run(*words) == (130, "", said)
    assert not (work / "out").exists()


def test_an_interrupted_gate_does_not_judge(run, work, tiny_checkpoint, interrupt_after):
    interrupt_after(signal.SIGINT, 3)
    words = ("--checkpoint", tiny_checkpoint, "--min-speedup", "0.001", "--seconds", "0.001")
    assert run("gate", "artifacts/demo", *words, "--runtime", "onnxruntime") == (130, "", "")


def test_an_artifact_that_no_runtime_opens_is_an_error_after_the_report(run, work, tiny_checkpoint):
    words = ("--checkpoint", tiny_checkpoint, *QUICK[:-1], "onnxruntime-cuda")
    status, out, err = run("artifacts/demo", *words, "--baseline", "fp32", "--rounds", "1")
    assert status == 1
    assert out.endswith("report: artifacts/demo/report.html\n")
    assert err.startswith("error: no runtime could be measured: onnxruntime-cuda: ")
    assert err.count("\n") == 1


def test_a_gate_under_load_warns_though_it_passes(plant_result, plant_measurement, run, tmp_path):
    measurements = [
        plant_measurement("pytorch-fp32", ((8.0,), (80.0,))),
        plant_measurement("openvino", ((2.0,), (2.0,)), default=True),
    ]
    rows = summarise_candidates(measurements, batch_size=1)
    result = plant_result(candidates=rows, warnings=("not stable: pytorch-fp32 (116%)",))
    path, *_ = write_latency(result, tmp_path)
    status, out, err = run("gate", path, "--min-speedup", "3")
    assert (status, err) == (0, "warning: not stable: pytorch-fp32 (116%)\n")
    assert out == (
        "passed: openvino is between 4.00x and 40.00x PyTorch FP32, measured under load, "
        "and at least 3x all the same\n"
    )


def test_report_writes_the_page_again_from_its_json(plant_result, run, tmp_path):
    _, _, page = write_latency(plant_result(), tmp_path)
    before = page.read_bytes()
    page.unlink()
    status, out, _ = run("report", tmp_path / "report.json", "--json")
    assert status == 0
    assert json.loads(out)["files"][-1] == str(page)
    assert page.read_bytes() == before


def test_a_gate_that_passes_exits_with_0(plant_result, run, tmp_path):
    path, *_ = write_latency(plant_result(2.0), tmp_path)
    status, out, err = run("gate", path, "--min-speedup", "3.5")
    assert (status, err) == (0, "")
    assert out == (
        "passed: openvino is 4.00x PyTorch FP32 in its slowest round "
        "(median 4.00x), at least 3.5x\n"
    )


def test_a_gate_that_fails_exits_with_1(plant_result, run, tmp_path):
    path, *_ = write_latency(plant_result(2.0), tmp_path)
    status, out, err = run("gate", path, "--min-speedup", "4.5", "--json")
    assert status == 1
    assert json.loads(out)["passed"] is False
    assert err == (
        "error: openvino is 4.00x PyTorch FP32 in its slowest round "
        "(median 4.00x), not at least 4.5x\n"
    )


def test_a_gate_on_accuracy_needs_the_artifact(plant_result, run, tmp_path):
    path, *_ = write_latency(plant_result(), tmp_path)
    status, _, err = run("gate", path, "--max-drop", "1", "--dataset", tmp_path)
    assert status == 1
    assert "give its folder, not a report" in err


def test_viability_writes_its_page_and_the_json_that_it_prints(
    run, tiny_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(
        "viability", tiny_checkpoint, "--encoder", tiny_checkpoint, "--device", "cpu", "--json"
    )
    assert (status, err) == (0, "")
    folder = tmp_path / "artifacts" / "viability-tiny"
    assert {path.name for path in folder.iterdir()} == {"viability.json", "viability.html"}
    printed = json.loads(out)
    assert printed == json.loads((folder / "viability.json").read_bytes())
    assert printed["kind"] == "viability"
    assert (
        printed["command_line"]
        == "motivnet-bench viability tiny.safetensors --encoder tiny.safetensors --device cpu"
    )


def test_viability_at_a_terminal_shows_tables_and_the_place_of_the_page(
    run, tiny_checkpoint, tmp_path
):
    for _ in range(2):  # the second takes the place of the first
        status, out, _ = run(
            "viability", tiny_checkpoint, "--encoder", tiny_checkpoint, "--out", tmp_path / "out"
        )
        assert status == 0
    assert "Common parameters" in out
    assert out.endswith(f"report: {tmp_path / 'out' / 'viability.html'}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to measure"),
        (("--data", "nowhere"), "--data and --reference go together"),
        (("--test", "nowhere"), "nowhere is not a folder"),
        (("--data", "nowhere", "--reference", "nowhere"), "nowhere is not a folder"),
        (("--encoder", "nowhere.pth"), "nowhere.pth does not exist"),
        (("--encoder", "x", "--preprocess", "crop"), "is called 'crop'"),
    ],
)
def test_a_mistake_in_viability_is_one_line_and_exit_status_1(
    run, tiny_checkpoint, tmp_path, monkeypatch, words, said
):
    monkeypatch.chdir(tmp_path)
    status, out, err = run("viability", tiny_checkpoint, *words)
    assert (status, out) == (1, "")
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
