from __future__ import annotations

import dataclasses
import io
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from motivnet.config import ModelConfig
from motivnet_bench.latency.candidate_process import Contestant
from motivnet_bench.latency.memory import lack_of_memory
from motivnet_bench.latency.protocol import (
    Failed,
    Memory,
    MemoryRequest,
    Opened,
    OpenRequest,
    Turn,
    TurnRequest,
    decode_reply,
    decode_request,
    encode,
)
from motivnet_bench.latency.worker import ON_GPU, serve
from motivnet_bench.latency.worker_process import WorkerFailedError, WorkerProcess
from motivnet_engines.runtimes.registry import RUNTIMES


@pytest.fixture(scope="module")
def input_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("input") / "input.npy"
    np.save(path, np.zeros((2, 3, 128, 96), np.float32))
    return path


@pytest.fixture
def open_request(artifact_model, input_file) -> OpenRequest:
    return OpenRequest(model=artifact_model, input=str(input_file), threads=1, warmup=0)


def test_a_message_comes_back_as_it_went(open_request):
    assert decode_request(encode(open_request)) == open_request
    assert decode_reply(encode(Turn(seconds=(0.5, 0.25)))) == Turn(seconds=(0.5, 0.25))


@pytest.mark.parametrize(
    "line", [b"not JSON\n", b'{"kind": "explode"}\n', b'{"kind": "turn"}\n', b"[]\n"]
)
def test_a_worker_answers_nonsense_with_a_failure(line):
    replies = io.BytesIO()
    serve(io.BytesIO(line), replies)
    assert isinstance(decode_reply(replies.getvalue()), Failed)


def test_a_turn_before_a_model_is_a_failure():
    replies = io.BytesIO()
    serve(io.BytesIO(encode(TurnRequest(duration=1.0))), replies)
    assert "before a model was opened" in decode_reply(replies.getvalue()).error


def test_a_worker_opens_measures_and_waits_stopped(open_request):
    with WorkerProcess(threads=1, timeout=120) as worker:
        opened = worker.ask(open_request, Opened)
        assert psutil.Process(worker.process_id).status() == psutil.STATUS_STOPPED
        assert np.asarray(opened.logits).shape == (2, 7)
        assert len(worker.ask(TurnRequest(duration=1e-9), Turn).seconds) == 1
        assert len(worker.ask(TurnRequest(duration=0.1), Turn).seconds) > 1
        peak = worker.ask(MemoryRequest(), Memory).peak
        assert psutil.Process(worker.process_id).memory_info().rss * 0.9 < peak < 1_000_000_000
    assert not psutil.pid_exists(worker.process_id)


def test_a_missing_artifact_is_a_one_line_failure(open_request, tmp_path):
    with WorkerProcess(threads=1, timeout=120) as worker:
        broken = OpenRequest(
            model=type(open_request.model)(folder=str(tmp_path / "none"), runtime="onnxruntime"),
            input=open_request.input,
            threads=1,
            warmup=0,
        )
        with pytest.raises(
            WorkerFailedError, match="none does not exist; build an artifact"
        ) as caught:
            worker.ask(broken, Opened)
        assert "\n" not in str(caught.value)


def test_a_killed_worker_is_named_as_killed(open_request):
    with WorkerProcess(threads=1, timeout=120) as worker:
        worker.ask(open_request, Opened)
        os.kill(worker.process_id, signal.SIGKILL)
        with pytest.raises(WorkerFailedError, match="was killed"):
            worker.ask(TurnRequest(duration=0.1), Turn)


def test_a_silent_worker_is_given_up(open_request):
    silent = pytest.raises(WorkerFailedError, match=r"no answer within 0\.01 s")
    with WorkerProcess(threads=1, timeout=0.01) as worker, silent:
        worker.ask(open_request, Opened)


def test_a_worker_that_cannot_start_says_its_last_words(open_request, monkeypatch, tmp_path):
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\necho one >&2\necho the last word >&2\nexit 3\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    dead = pytest.raises(WorkerFailedError, match="ended with status 3: the last word")
    with WorkerProcess(threads=1, timeout=60) as worker, dead:
        worker.ask(open_request, Opened)


def test_a_contestant_whose_worker_dies_falls_out_with_the_reason(
    plant_outcome, artifact_model, input_file
):
    candidate = dataclasses.replace(plant_outcome("onnxruntime").candidate, model=artifact_model)
    with Contestant(candidate, threads=1, timeout=120) as contestant:
        contestant.open(input_file, warmup=0)
        contestant.turn(0.01)
        os.kill(contestant.process_id, signal.SIGKILL)
        contestant.turn(0.01)
        contestant.turn(0.01)
        outcome = contestant.finish()
    assert len(outcome.rounds) == 1
    assert "was killed" in outcome.error


def test_a_model_that_does_not_fit_in_memory_is_refused():
    config = ModelConfig.named("sapiens-1b")
    assert lack_of_memory(config, free=20_000_000_000) is None
    assert re.fullmatch(
        r"needs about 9\.\d GB and 5\.0 GB are free; measure fewer at once with --runtime",
        str(lack_of_memory(config, free=5_000_000_000)),
    )


def test_a_contestant_without_memory_falls_out_before_it_opens(
    plant_outcome, input_file, monkeypatch
):
    monkeypatch.setattr("motivnet_bench.latency.candidate_process.free_memory", lambda: 1000)
    with Contestant(plant_outcome("onnxruntime").candidate, threads=1, timeout=120) as contestant:
        contestant.open(input_file, warmup=0)
        outcome = contestant.finish()
    assert outcome.opened is None
    assert "GB are free" in outcome.error


def test_every_runtime_is_on_the_gpu_or_the_processor():
    assert set(RUNTIMES) - ON_GPU == {"openvino-bf16", "openvino", "onnxruntime"}
