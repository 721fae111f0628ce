from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from motivnet_bench import cli
from motivnet_bench.latency.result import LatencyResult
from motivnet_bench.report.write import write_report


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-c", "from motivnet_bench.cli import main; main()", *map(str, words)]


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs the command in this process: exit status, standard output, standard error."""

    def call(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["motivnet-bench", *map(str, words)])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        out, err = capsys.readouterr()
        return int(exit_info.value.code or 0), out, err

    return call


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


@pytest.mark.parametrize(
    "words", [("--help",), ("latency", "--help"), ("criteria", "--help"), ("gate", "--help")]
)
def test_help_imports_nothing_heavy(words):
    script = (
        "import sys\nfrom motivnet_bench.cli import main\nsys.argv = ['motivnet-bench', *sys.argv[1:]]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'numpy', 'torch', 'matplotlib', 'sklearn', 'psutil', 'onnxruntime', 'openvino', 'cv2'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("latency", "nowhere"), "nowhere does not exist; build an artifact with"),
        ((), "there is no artifact in artifacts/"),
        (("--model", "huge"), "no model is called 'huge'"),
        (("--model", "tiny", "--precision", "fp4"), "no precision is called 'fp4'"),
        (("latency", "nowhere", "--model", "tiny"), "leave out the artifact and --checkpoint"),
        (("--rounds", "0"), "must be at least 1"),
        (("gate",), "nothing to check"),
        (("gate", "--max-drop", "1"), "--max-drop and --dataset go together"),
        (("gate", "--min-speedup", "-1"), "--min-speedup must be a positive number"),
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


def test_a_run_without_argument_benches_the_newest_artifact(bench_run, latency_result):
    assert bench_run.status == 0
    assert bench_run.errors == ""
    assert latency_result.subject.name == "demo"
    assert latency_result.command.startswith(
        "motivnet-bench latency artifacts/demo --checkpoint tiny.safetensors"
    )


def test_a_run_leaves_its_report_beside_the_artifact(bench_run, latency_result):
    demo = bench_run.folder / "artifacts" / "demo"
    assert {path.name for path in demo.glob("report.*")} == {
        "report.html",
        "report.json",
        "report.md",
    }
    assert LatencyResult.from_json((demo / "report.json").read_bytes()) == latency_result


def test_report_makes_the_page_again_from_its_json(plant_result, run, tmp_path):
    _, _, page = write_report(plant_result(), tmp_path)
    before = page.read_bytes()
    page.unlink()
    status, out, _ = run("report", tmp_path / "report.json", "--json")
    assert status == 0
    assert json.loads(out)["files"][-1] == str(page)
    assert page.read_bytes() == before


def test_a_gate_that_is_reached_exits_with_0(plant_result, run, tmp_path):
    path, *_ = write_report(plant_result(2.0), tmp_path)
    status, out, err = run("gate", path, "--min-speedup", "3.5")
    assert (status, err) == (0, "")
    assert (
        out
        == "reached: openvino is 4.00x PyTorch FP32 in its slowest round (median 4.00x), at least 3.5x\n"
    )


def test_a_gate_that_is_not_reached_exits_with_1(plant_result, run, tmp_path):
    path, *_ = write_report(plant_result(2.0), tmp_path)
    status, out, err = run("gate", path, "--min-speedup", "4.5", "--json")
    assert status == 1
    assert json.loads(out)["passed"] is False
    assert (
        err
        == "error: openvino is 4.00x PyTorch FP32 in its slowest round (median 4.00x), not at least 4.5x\n"
    )


def test_a_gate_on_accuracy_needs_the_artifact(plant_result, run, tmp_path):
    path, *_ = write_report(plant_result(), tmp_path)
    status, _, err = run("gate", path, "--max-drop", "1", "--dataset", tmp_path)
    assert status == 1
    assert "give its folder, not a report" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_the_benchmark(fp16_artifact, tiny_checkpoint, tmp_path, number):
    words = (
        "latency",
        fp16_artifact,
        "--checkpoint",
        tiny_checkpoint,
        "--duration",
        "300",
        "--device",
        "cpu",
    )
    command_line = command(*words, "--out", tmp_path)
    parent = subprocess.Popen(command_line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    workers: list[psutil.Process] = []
    try:
        workers += wait_for(
            lambda: [child for child in psutil.Process(parent.pid).children() if is_stopped(child)]
        )
        parent.send_signal(number)
        _, err = parent.communicate(timeout=60)
        wait_for(lambda: not psutil.wait_procs(workers, timeout=0.1)[1])
    finally:
        for process in (*workers, parent):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        parent.wait()
    assert parent.returncode != 0
    assert b"Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def is_stopped(process: psutil.Process) -> bool:
    """Whether it is a worker between its turns, which can no longer see by itself that nobody is there."""
    try:
        return process.status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def wait_for(condition, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found
