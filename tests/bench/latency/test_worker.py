from __future__ import annotations

import gc
import os
import threading
import time
from functools import partial

import numpy as np
import psutil
import pytest

from motivnet.child_process import Connection
from motivnet.config import ModelConfig
from motivnet.errors import MotivNetError
from motivnet.runtime import TensorSpec
from motivnet_bench.latency import worker
from motivnet_bench.latency.worker import (
    Failed,
    Measure,
    Measured,
    Open,
    Opened,
    OpenModel,
    PyTorchModel,
    Stage,
    describe_failure,
    open_model,
    peak_memory,
    scheduling,
    serve,
    waiting_share,
)
from motivnet_engines.runtimes.registry import ON_GPU, RUNTIMES


class FakeRuntime:
    """Every call takes ``seconds`` of its own clock."""

    compute = "float32"
    inputs = (TensorSpec(name="image", dtype="float32", shape=(None, 3, 4, 4)),)

    def __init__(self, seconds: float, logits: tuple[float, ...] = (1.0, 0.0)) -> None:
        self.seconds = seconds
        self.now = 0.0
        self.calls = 0
        self._logits = np.array([logits], np.float32)

    def clock(self) -> float:
        return self.now

    def run(self, inputs):
        assert list(inputs) == ["image"]
        self.now += self.seconds
        self.calls += 1
        return {"logits": self._logits}


def opened(runtime: FakeRuntime, *, warmup: int = 0) -> OpenModel:
    model = OpenModel(runtime, np.zeros((1, 3, 4, 4), np.float32), clock=runtime.clock)
    model.first_call()
    model.warm_up(warmup)
    return model


@pytest.fixture(autouse=True)
def no_collection(monkeypatch):
    """A collection takes seconds in a process that has imported PyTorch."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


@pytest.fixture
def open_request(artifact_model, tmp_path) -> Open:
    path = tmp_path / "inputs.npy"
    np.save(path, np.zeros((2, 3, 128, 96), np.float32))
    return Open(model=artifact_model, inputs=str(path), threads=1, warmup=0)


@pytest.fixture
def benchmark_side():
    """A connection to ``serve``, which runs in a thread."""
    requests, to_worker = os.pipe()
    from_worker, replies = os.pipe()
    ours = Connection(from_worker, to_worker)
    worker = Connection(requests, replies)
    thread = threading.Thread(target=serve, args=(worker,))
    thread.start()
    yield ours
    ours.end_sending()
    thread.join()
    ours.close()
    worker.close()


def test_a_round_has_the_seconds_of_its_calls():
    runtime = FakeRuntime(0.25)
    assert opened(runtime).measure(1.0) == (0.25,) * 4


def test_a_call_that_is_longer_than_a_round_runs_once():
    runtime = FakeRuntime(7.0)
    assert opened(runtime, warmup=1).measure(0.5) == (7.0,)
    assert runtime.calls == 3  # the first, the warm-up and the measured one


def test_untimed_calls_fill_a_tenth_of_a_round_before_it():
    runtime = FakeRuntime(0.125)
    model = opened(runtime, warmup=2)
    assert runtime.calls == 3
    assert len(model.measure(10.0)) == 80
    assert runtime.calls == 3 + 8 + 80


def test_logits_that_are_not_finite_are_an_error():
    with pytest.raises(MotivNetError, match=r"the logits are not finite: \[nan, 0\.0\]"):
        opened(FakeRuntime(0.1, logits=(float("nan"), 0.0)))


def test_an_opened_model_reports_its_first_call_and_logits(open_request):
    model, reply = open_model(open_request)
    assert np.asarray(reply.logits).shape == (2, 7)
    assert (reply.compute, reply.device) == ("float32", "cpu")
    assert min(reply.load, reply.first_call) > 0
    assert reply.compilation is None
    assert len(model.measure(1e-9)) == 1


def test_the_call_that_compiles_is_beside_the_first_call(open_request, change, monkeypatch):
    model = PyTorchModel(
        checkpoint=None,
        config=ModelConfig.named("tiny"),
        compute="float32",
        compiler="inductor",
        device="cpu",
    )
    runtime = FakeRuntime(0.25)
    run = runtime.run

    def run_compiled(inputs):
        runtime.now += 0 if runtime.calls else 60
        return run(inputs)

    runtime.run = run_compiled
    monkeypatch.setattr(worker, "_open_runtime", lambda *_, **__: (runtime, "cpu"))
    monkeypatch.setattr(worker, "OpenModel", partial(OpenModel, clock=runtime.clock))
    stages = []
    opened_model, reply = open_model(change(open_request, model=model), stages.append)
    assert stages == ["loading", "compiling", "first call", "warming up"]
    assert (reply.compilation, reply.first_call) == (60.25, 0.25)
    assert opened_model.measure(0.2) == (0.25,)


def test_a_worker_answers_until_it_is_told_that_nothing_more_comes(benchmark_side, open_request):
    benchmark_side.send(open_request)
    stages = [benchmark_side.receive(Stage | Opened | Failed).name for _ in range(3)]
    assert stages == ["loading", "first call", "warming up"]
    assert isinstance(benchmark_side.receive(Opened | Failed), Opened)
    benchmark_side.send(Measure(seconds=1e-9))
    measured = benchmark_side.receive(Measured | Failed)
    assert len(measured.calls) == 1
    assert measured.peak_memory > 30_000_000


def test_a_failure_is_an_answer_of_one_line(benchmark_side, open_request, tmp_path, change):
    model = change(open_request.model, folder=str(tmp_path / "none"))
    benchmark_side.send(change(open_request, model=model))
    assert benchmark_side.receive(Stage).name == "loading"
    error = benchmark_side.receive(Opened | Failed).error
    assert "none does not exist; build an artifact" in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError("Unable to allocate 9.3 GiB"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), True),
        (RuntimeError("[ONNXRuntimeError] : 6 : bad allocation"), True),
        (RuntimeError("std::bad_alloc"), True),
        (MotivNetError("CUDA: out of memory (cuMemAlloc)"), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_a_lack_of_memory_is_named_with_what_to_do(error, expected):
    text = describe_failure(error)
    assert text.startswith("the memory ran out, as all candidates stay open; measure") is expected
    assert str(error) in text
    assert "\n" not in text


def test_a_round_before_a_model_is_a_failure(benchmark_side):
    benchmark_side.send(Measure(seconds=1.0))
    assert "before a model was opened" in benchmark_side.receive(Measured | Failed).error


def test_the_time_in_which_threads_run_and_wait_is_counted():
    before = scheduling()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    after = scheduling()
    assert after[0] - before[0] >= 40_000_000  # nanoseconds
    assert 0 <= waiting_share(before, after) < 1


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [((10, 5), (40, 15), 0.25), ((1, 1), (1, 1), 0.0), (None, (1, 1), None)],
)
def test_the_share_of_waiting_is_that_of_the_round(before, after, share):
    assert waiting_share(before, after) == share


def test_the_peak_memory_is_that_of_this_process():
    assert peak_memory() >= 0.9 * psutil.Process().memory_info().rss


def test_every_runtime_is_on_the_gpu_or_the_processor():
    assert set(RUNTIMES) - ON_GPU == {"openvino-bf16", "openvino", "onnxruntime"}
