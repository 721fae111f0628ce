from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from motivnet import terminal
from motivnet.config import ModelConfig
from motivnet_bench.latency import candidate_process
from motivnet_bench.latency.candidate_process import CandidateProcess, lack_of_memory
from motivnet_bench.latency.candidates import Candidate

TINY = ModelConfig.named("tiny")

PARENT = """
import sys, time
from pathlib import Path
from motivnet.config import ModelConfig
from motivnet_bench.latency.candidate_process import CandidateProcess
from motivnet_bench.latency.candidates import Candidate
from motivnet_bench.latency.worker import ArtifactModel

model = ArtifactModel(folder=sys.argv[1], runtime="onnxruntime")
candidate = Candidate(name="onnxruntime", role="runtime", model=model)
with CandidateProcess(candidate, threads=1, timeout=60) as process:
    process.open(Path(sys.argv[2]), warmup=0, config=ModelConfig.named("tiny"))
    print(process.process_id, flush=True)
    time.sleep(300)
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("input") / "inputs.npy"
    np.save(path, np.zeros((2, 3, 128, 96), np.float32))
    return path


@pytest.fixture
def process(artifact_model):
    candidate = Candidate(name="onnxruntime", role="runtime", model=artifact_model)
    with CandidateProcess(candidate, threads=1, timeout=120) as process:
        yield process


def test_a_process_is_stopped_except_while_it_answers(process, inputs):
    process.open(inputs, warmup=0, config=TINY)
    process_id = process.process_id
    assert psutil.Process(process_id).status() == psutil.STATUS_STOPPED
    process.measure(1e-9)
    process.measure(1e-9)
    assert psutil.Process(process_id).status() == psutil.STATUS_STOPPED
    measurement = process.finish()
    assert not psutil.pid_exists(process_id)
    assert measurement.error is None
    assert np.asarray(measurement.opened.logits).shape == (2, 7)
    assert [len(calls) for calls in measurement.rounds] == [1, 1]
    assert 30_000_000 < measurement.peak_memory < 1_000_000_000


def test_a_process_that_dies_is_a_failure_and_ignores_later_rounds(process, inputs):
    process.open(inputs, warmup=0, config=TINY)
    process.measure(1e-9)
    os.kill(process.process_id, signal.SIGKILL)
    process.measure(1e-9)
    assert process.process_id is None
    process.measure(1e-9)
    measurement = process.finish()
    assert len(measurement.rounds) == 1
    assert measurement.error.startswith("its process was ended by SIGKILL")
    assert measurement.error.endswith("measure fewer at once with --runtime and --baseline")


def test_every_stage_that_lasts_is_announced(process, inputs, monkeypatch, caplog):
    monkeypatch.setattr(terminal, "ANNOUNCED_AFTER", 0.001)
    caplog.set_level("INFO", "motivnet.terminal")
    process.open(inputs, warmup=200, config=TINY)
    process.measure(0.05, title="round 1 of 5")
    for stage in ("starting", "loading", "warming up", "round 1 of 5"):
        assert f"onnxruntime: {stage} ..." in caplog.messages


def test_a_run_without_a_round_was_interrupted(process, inputs):
    process.open(inputs, warmup=0, config=TINY)
    assert process.finish().error == "interrupted before its first round"


def test_a_process_keeps_its_temporary_files_in_the_folder_of_the_run(process, inputs):
    process.open(inputs, warmup=0, config=TINY)
    environment = psutil.Process(process.process_id).environ()
    for name in ("TMPDIR", "TORCHINDUCTOR_CACHE_DIR"):
        assert Path(environment[name]).is_relative_to(inputs.parent)


def test_a_silent_process_is_ended(artifact_model, inputs):
    candidate = Candidate(name="onnxruntime", role="runtime", model=artifact_model)
    with CandidateProcess(candidate, threads=1, timeout=0) as process:
        process.open(inputs, warmup=0, config=TINY)
        assert process.finish().error == "no answer within 0 s; --timeout allows more"


def test_a_process_that_cannot_start_is_named_by_its_last_line(
    process, inputs, monkeypatch, tmp_path
):
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\necho one >&2\necho the last word >&2\nexit 3\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    process.open(inputs, warmup=0, config=TINY)
    assert process.finish().error == "its process ended with status 3: the last word"


def test_a_model_that_does_not_fit_in_memory_is_refused():
    config = ModelConfig.named("sapiens-1b")
    assert lack_of_memory(config, free=20_000_000_000) is None
    assert lack_of_memory(config, free=None) is None
    assert re.fullmatch(
        r"needs about 9\.\d GB of memory and 5\.0 GB are free, as all candidates stay open; "
        "measure fewer at once with --runtime and --baseline",
        str(lack_of_memory(config, free=5_000_000_000)),
    )


def test_without_memory_no_process_is_started(process, inputs, change, monkeypatch):
    machine = change(candidate_process.read_machine(), memory_available=1000)
    monkeypatch.setattr(candidate_process, "read_machine", lambda: machine)
    process.open(inputs, warmup=0, config=TINY)
    assert process.process_id is None
    assert "GB are free" in process.finish().error


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_process_dies_with_the_benchmark(fp16_artifact, inputs, number):
    command = [sys.executable, "-c", PARENT, fp16_artifact, inputs]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        worker = psutil.Process(int(parent.stdout.readline()))
        try:
            assert worker.status() == psutil.STATUS_STOPPED
            parent.send_signal(number)
            worker.wait(timeout=60)
        finally:
            parent.kill()
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
