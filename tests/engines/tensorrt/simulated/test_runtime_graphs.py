"""CUDA graphs of the runner, and TensorRT-RTX's own graphs and compiled kernels, simulated."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest
from simulated_trt.fixtures import (
    assert_same,
    engine_artifact,
    expected_of,
    images_of,
    opened,
    tensorrt,
)

from motivnet.errors import EngineError
from motivnet_engines.runtimes.tensorrt import context as graphs
from motivnet_engines.runtimes.tensorrt.kernel_cache import KernelCache
from motivnet_engines.runtimes.tensorrt.runtime import TensorRTRuntime

__all__ = ["engine_artifact", "opened", "tensorrt"]

BINDINGS = "cuda-bindings"
UNKNOWN = 999


def test_a_shape_is_captured_when_it_comes_again_and_launched_from_then_on(
    fake, tensorrt, engine_artifact, opened
) -> None:
    tensorrt()
    artifact = engine_artifact()
    runtime = opened(artifact, memory=BINDINGS, contexts=1)
    array = images_of(artifact, 5)
    expected = expected_of(artifact, array)
    seen = []
    for _ in range(4):
        assert_same(runtime.run({"image": array}), expected)
        seen.append((fake.live_graphs(), fake.calls("cuGraphLaunch")))
        assert fake.queued_operations() == 0
    assert seen == [(0, 0), (1, 0), (1, 1), (1, 2)]


def test_a_launch_reads_the_input_of_its_own_call(tensorrt, engine_artifact, opened) -> None:
    tensorrt()
    artifact = engine_artifact()
    runtime = opened(artifact, memory=BINDINGS, contexts=1)
    for seed in range(5):
        array = images_of(artifact, 4, seed=seed)
        assert_same(runtime.run({"image": array}), expected_of(artifact, array))


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_graphs_on_and_off_give_the_same(backend: str, fake, tensorrt, engine_artifact) -> None:
    tensorrt(backend)
    artifact = engine_artifact(backend=backend)
    arrays = [images_of(artifact, 1 + seed % 3, seed=seed) for seed in range(12)]
    results = []
    for cuda_graphs in (True, False):
        with TensorRTRuntime(
            artifact, backend=backend, memory=BINDINGS, cuda_graphs=cuda_graphs
        ) as runtime:
            before = fake.calls("cuGraphLaunch")
            results.append([runtime.run({"image": array}) for array in arrays])
            launched = fake.calls("cuGraphLaunch") - before
            assert (launched > 0) == (cuda_graphs and backend == "tensorrt")
    for on, off in zip(*results, strict=True):
        assert_same(on, off)


def test_of_many_recurring_shapes_only_the_first_are_captured(
    fake, tensorrt, engine_artifact, opened
) -> None:
    tensorrt()
    artifact = engine_artifact("image")
    runtime = opened(artifact, memory=BINDINGS, contexts=1)
    arrays = [images_of(artifact, 1, size=(20 + side, 30)) for side in range(9)]
    for _ in range(4):
        for array in arrays:
            runtime.run({"image": array})
    assert fake.calls("cuStreamBeginCapture") == fake.live_graphs() == graphs.MAX_GRAPHS
    assert fake.calls("cuGraphLaunch") == 2 * graphs.MAX_GRAPHS


def test_a_shape_that_never_comes_again_is_not_captured(
    fake, tensorrt, engine_artifact, opened
) -> None:
    simulation = tensorrt()
    artifact = engine_artifact("image")
    runtime = opened(artifact, memory=BINDINGS, contexts=1)
    for side in range(20, 90):
        runtime.run({"image": images_of(artifact, 1, size=(side, 30))})
    assert (fake.live_graphs(), simulation.made["context"]) == (0, 1)
    assert len(runtime._pool._idle[0]._graphs._seen) <= 64


def test_an_engine_that_streams_its_weights_is_not_captured(
    fake, tensorrt, engine_artifact, opened, caplog: pytest.LogCaptureFixture
) -> None:
    tensorrt()
    artifact = engine_artifact(weight_streaming=True)
    runtime = opened(artifact, memory=BINDINGS, contexts=1)
    for _ in range(4):
        runtime.run({"image": images_of(artifact, 2)})
    assert (fake.calls("cuStreamBeginCapture"), fake.live_graphs()) == (0, 0)
    assert caplog.records == []


@pytest.mark.parametrize("function", ["cuStreamBeginCapture", "cuGraphInstantiateWithFlags"])
def test_a_capture_that_fails_is_said_once_and_the_results_stay_right(
    function: str, fake, tensorrt, engine_artifact, opened, caplog: pytest.LogCaptureFixture
) -> None:
    tensorrt()
    artifact = engine_artifact()
    runtime = opened(artifact, memory=BINDINGS, contexts=2)
    fake.fail_next(function, UNKNOWN)
    array = images_of(artifact, 2)
    expected = expected_of(artifact, array)
    with caplog.at_level(logging.WARNING, logger="motivnet_engines"):
        for _ in range(4):
            assert_same(runtime.run({"image": array}), expected)
        with runtime._pool.acquire():  # the other context does not try again
            for _ in range(3):
                assert_same(runtime.run({"image": array}), expected)
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "CUDA graphs are off for this engine, which runs without them"
    ]
    assert fake.live_graphs() == 0


def test_an_inference_that_fails_while_it_is_captured_ends_the_capture(
    fake, tensorrt, engine_artifact, opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = tensorrt()
    artifact = engine_artifact()
    runtime = opened(artifact, memory=BINDINGS, contexts=1)
    memory = runtime._pool._memory
    begin = type(memory).begin_capture

    def begin_and_fail(this, stream: int) -> None:
        begin(this, stream)
        simulation.fail_next("execute_async_v3")

    monkeypatch.setattr(type(memory), "begin_capture", begin_and_fail)
    array = images_of(artifact, 2)
    expected = expected_of(artifact, array)
    for _ in range(4):
        assert_same(runtime.run({"image": array}), expected)
    assert fake.live_graphs() == 0


def test_a_capture_that_something_spoils_leaves_the_stream_usable(
    fake, tensorrt, engine_artifact, opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorrt()
    artifact = engine_artifact()
    runtime = opened(artifact, memory=BINDINGS, contexts=1)
    memory = runtime._pool._memory
    begin = type(memory).begin_capture

    def begin_and_spoil(this, stream: int) -> None:
        begin(this, stream)
        with pytest.raises(EngineError):
            this.synchronize(stream)

    monkeypatch.setattr(type(memory), "begin_capture", begin_and_spoil)
    array = images_of(artifact, 2)
    expected = expected_of(artifact, array)
    for _ in range(4):
        assert_same(runtime.run({"image": array}), expected)
    assert (fake.live_graphs(), fake.live_streams()) == (0, 1)


def test_pycuda_runs_without_graphs(
    fake, tensorrt, engine_artifact, opened, memory_name: str
) -> None:
    tensorrt()
    artifact = engine_artifact()
    runtime = opened(artifact, memory=memory_name)
    for _ in range(4):
        runtime.run({"image": images_of(artifact, 1)})
    assert (fake.calls("cuGraphLaunch") > 0) == runtime._pool._memory.captures_graphs


@pytest.mark.parametrize(
    ("cuda_graphs", "name"), [(True, "WHOLE_GRAPH_CAPTURE"), (False, "DISABLED")]
)
def test_tensorrt_rtx_captures_its_own_graphs(
    cuda_graphs: bool, name: str, tensorrt, engine_artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = tensorrt("tensorrt-rtx")
    artifact = engine_artifact(backend="tensorrt-rtx")
    with TensorRTRuntime(artifact, backend="tensorrt-rtx", cuda_graphs=cuda_graphs):
        assert simulation.configs[-1]().cuda_graph_strategy.name == name


@pytest.mark.parametrize("version", ["10.3.0", "10.16.1.11"])
def test_tensorrt_with_and_without_a_runtime_configuration_runs_the_same(
    version: str, tensorrt, engine_artifact, opened
) -> None:
    tensorrt(version=version)
    artifact = engine_artifact(version=version)
    array = images_of(artifact, 3)
    assert_same(opened(artifact).run({"image": array}), expected_of(artifact, array))


class TestCompiledKernels:
    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
        return tmp_path / "home" / "motivnet"

    def run(self, artifact, batch: int) -> None:
        with TensorRTRuntime(artifact, backend="tensorrt-rtx") as runtime:
            runtime.run({"image": images_of(artifact, batch)})

    def test_are_kept_in_the_users_cache_for_the_next_start(
        self, tensorrt, engine_artifact, home: Path
    ) -> None:
        simulation = tensorrt("tensorrt-rtx")
        artifact = engine_artifact(backend="tensorrt-rtx")
        self.run(artifact, 2)
        assert simulation.compiled
        [path] = home.glob("*.sm86.rtx-cache")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        before = path.stat()
        simulation.compiled.clear()
        self.run(artifact, 2)
        assert simulation.compiled == []
        assert path.stat().st_mtime_ns == before.st_mtime_ns, (
            "written again, although nothing was compiled"
        )
        self.run(artifact, 7)
        assert simulation.compiled == ["(7, 3, 128, 96)"]
        assert sorted(home.iterdir()) == [path, path.with_name(f"{path.name}.json")]
        assert not list(artifact.folder.glob("*.rtx-cache*"))

    def test_are_compiled_again_where_they_are_damaged(
        self, tensorrt, engine_artifact, home: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        simulation = tensorrt("tensorrt-rtx")
        artifact = engine_artifact(backend="tensorrt-rtx")
        self.run(artifact, 2)
        [path] = home.glob("*.rtx-cache")
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        simulation.compiled.clear()
        self.run(artifact, 2)
        assert len(simulation.compiled) == 2
        assert "is damaged or of another engine" in caplog.text
        simulation.compiled.clear()
        self.run(artifact, 2)
        assert simulation.compiled == []

    def test_are_compiled_again_where_tensorrt_does_not_take_them(
        self, tensorrt, engine_artifact, caplog: pytest.LogCaptureFixture
    ) -> None:
        simulation = tensorrt("tensorrt-rtx")
        artifact = engine_artifact(backend="tensorrt-rtx")
        sha256 = artifact.manifest.entry(artifact.manifest.engines[0].path).sha256
        KernelCache(sha256, sm="86").write(b"of another driver")
        self.run(artifact, 2)
        assert "does not take the compiled kernels of an earlier run" in caplog.text
        simulation.compiled.clear()
        self.run(artifact, 2)
        assert simulation.compiled == []

    def test_are_not_kept_of_an_engine_that_did_not_open(self, tensorrt, engine_artifact) -> None:
        simulation = tensorrt("tensorrt-rtx")
        artifact = engine_artifact(backend="tensorrt-rtx")
        simulation.fail_next("execute_async_v3")
        with pytest.raises(Exception, match="could not start"):
            self.run(artifact, 2)
        assert [entry.name for entry in artifact.folder.parent.iterdir()] == ["fp32"]
