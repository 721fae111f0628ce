"""What the runtime does when something fails, and that the tests notice a wrong runtime."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pytest
from simulated_trt import EngineInvalidityDiagnostics, EngineValidity
from simulated_trt.context import Context
from simulated_trt.fixtures import (
    assert_same,
    engine_artifact,
    expected_of,
    images_of,
    opened,
    rewritten,
    tensorrt,
)

from motivnet.artifact.reference import REFERENCE_FILE, read_reference
from motivnet.errors import ArtifactError, EngineError, RuntimeUnavailableError
from motivnet_engines.runtimes.tensorrt.context import ExecutionContext, ShapeGraphs
from motivnet_engines.runtimes.tensorrt.context_pool import ContextPool, PooledContext
from motivnet_engines.runtimes.tensorrt.engine import Engine
from motivnet_engines.runtimes.tensorrt.runtime import TensorRTRuntime

__all__ = ["engine_artifact", "opened", "tensorrt"]

UNKNOWN = 999


@pytest.mark.parametrize("after", [0, 1, 2, 3])
@pytest.mark.parametrize(
    "function",
    [
        "cuStreamCreate",
        "cuMemHostAlloc",
        "cuMemAlloc",
        "cuMemcpyHtoDAsync",
        "cuMemcpyDtoHAsync",
        "cuStreamSynchronize",
    ],
)
def test_whatever_cuda_call_fails_while_opening_nothing_stays(
    function: str, after: int, fake, memory_name: str, tensorrt, engine_artifact
) -> None:
    simulation = tensorrt()
    artifact = engine_artifact()
    fake.fail_next(function, UNKNOWN, after=after)
    failed = None
    try:
        TensorRTRuntime(artifact, backend="tensorrt", memory=memory_name).close()
    except EngineError as error:
        failed = error  # still held, and its traceback with it, while what is alive is counted
    assert failed is not None or after > 0, "the call was never made"
    fake.assert_clean()
    simulation.assert_clean()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("deserialize_cuda_engine", "tensorrt 10.16.1.11 does not take the engine"),
        ("create_execution_context", "cannot make another execution context"),
        ("set_tensor_address", "refuses the memory of 'image'"),
        ("set_input_shape", "refuses the input shape"),
        ("infer_shapes", "cannot infer the shapes"),
        ("execute_async_v3", "could not start the inference"),
    ],
)
def test_whatever_tensorrt_refuses_while_opening_nothing_stays_and_it_says_why(
    method: str, message: str, fake, tensorrt, memory_name: str, engine_artifact
) -> None:
    simulation = tensorrt()
    artifact = engine_artifact()
    simulation.fail_next(method)
    with pytest.raises(EngineError, match=message) as raised:
        TensorRTRuntime(artifact, backend="tensorrt", memory=memory_name)
    assert f"{method} was told to fail" in str(raised.value)
    assert raised.value.log == (f"Error Code 1: {method} was told to fail",)
    fake.assert_clean()  # although the error is still held, and its traceback with it
    simulation.assert_clean()


def test_outputs_of_an_unexpected_shape_are_refused_before_they_are_copied(
    fake, tensorrt, engine_artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = tensorrt()
    monkeypatch.setattr(Context, "get_tensor_shape", lambda *_: (8, 9))
    with pytest.raises(
        EngineError, match=r"the engine's 'logits' should be \(3, 7\), not \(8, 9\)"
    ):
        TensorRTRuntime(engine_artifact(), backend="tensorrt")
    assert simulation.kernels == 0
    fake.assert_clean()


@pytest.mark.parametrize("method", ["set_input_shape", "infer_shapes", "execute_async_v3"])
def test_a_run_that_fails_leaves_the_runtime_usable(
    method: str, fake, memory_name: str, tensorrt, engine_artifact, opened
) -> None:
    simulation = tensorrt()
    artifact = engine_artifact()
    runtime = opened(artifact, memory=memory_name, contexts=1)
    array = images_of(artifact, 12)
    expected = expected_of(artifact, array)
    for _ in range(3):
        simulation.fail_next(method)
        with pytest.raises(EngineError, match="was told to fail"):
            runtime.run({"image": array})
        assert_same(runtime.run({"image": array}), expected)
    assert fake.live_streams() == 1


def test_an_interrupted_run_leaves_the_runtime_usable(
    fake, memory_name: str, tensorrt, engine_artifact, opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorrt()
    artifact = engine_artifact()
    runtime = opened(artifact, memory=memory_name, contexts=1)
    array = images_of(artifact, 2)

    with monkeypatch.context() as patch:
        patch.setattr(np, "copyto", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            runtime.run({"image": array})
    assert_same(runtime.run({"image": array}), expected_of(artifact, array))


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_too_little_memory_names_the_bytes(
    fake, memory_name: str, tensorrt, engine_artifact
) -> None:
    simulation = tensorrt()
    fake.set_memory_limit(1_000_000)
    artifact = engine_artifact()
    wanted = 8 * 3 * 128 * 96 * 4
    with pytest.raises(EngineError) as raised:
        TensorRTRuntime(artifact, backend="tensorrt", memory=memory_name)
    assert f"{wanted:,}" in str(raised.value) or str(wanted) in str(raised.value)
    fake.assert_clean()
    simulation.assert_clean()


def test_calls_wait_for_a_context_where_the_gpu_has_no_room_for_another(
    fake, memory_name: str, tensorrt, engine_artifact, opened, caplog: pytest.LogCaptureFixture
) -> None:
    tensorrt()
    artifact = engine_artifact()
    runtime = opened(artifact, memory=memory_name, contexts=3)
    array = images_of(artifact, 1)
    expected = expected_of(artifact, array)
    fake.set_memory_limit(1_500_000)
    both = threading.Barrier(8)

    def answer() -> dict[str, np.ndarray]:
        both.wait()
        return runtime.run({"image": array})

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(answer) for _ in range(8)]:
            assert_same(future.result(), expected)

    lowered = [record.message for record in caplog.records if "calls run at" in record.message]
    assert 1 <= len(lowered) <= 2
    assert re.fullmatch(
        r"at most [12] calls run at a time: the GPU has no \d+ bytes left.*", lowered[0]
    )
    runtime.close()
    fake.assert_clean()


def test_an_interrupted_wait_for_a_context_leaves_the_runtime_usable(
    fake, tensorrt, engine_artifact, opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorrt()
    artifact = engine_artifact()
    runtime = opened(artifact, memory="cuda-bindings", contexts=2)
    array = images_of(artifact, 1)
    fake.set_memory_limit(1_500_000)
    wait = ContextPool._wait

    def interrupted(pool: ContextPool, *, first: bool = False) -> Any:
        if first:
            raise KeyboardInterrupt
        return wait(pool)

    monkeypatch.setattr(ContextPool, "_wait", interrupted)
    with runtime._pool.acquire(), pytest.raises(KeyboardInterrupt):
        runtime.run({"image": array})
    assert_same(runtime.run({"image": array}), expected_of(artifact, array))
    runtime.close()


def test_without_any_context_to_wait_for_the_call_fails(
    fake, tensorrt, engine_artifact, opened
) -> None:
    tensorrt()
    artifact = engine_artifact()
    runtime = opened(artifact, memory="cuda-bindings", contexts=2)
    with pytest.raises(KeyError), runtime._pool.acquire():
        raise KeyError
    fake.set_memory_limit(1_000)
    with pytest.raises(EngineError, match=r"the GPU has no \d+ bytes left"):
        runtime.run({"image": images_of(artifact, 1)})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_kernel_that_fails_for_good_fails_every_run_and_still_closes(
    fake, tensorrt, engine_artifact, memory_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorrt()
    artifact = engine_artifact()
    runtime = TensorRTRuntime(artifact, backend="tensorrt", memory=memory_name, contexts=1)
    monkeypatch.setattr(fake, "device_array", lambda *_: 1 / 0)
    for _ in range(2):
        with pytest.raises(EngineError, match=r"(?i)launch"):
            runtime.run({"image": images_of(artifact, 1)})
    runtime.close()
    fake.forget()  # a context that failed frees nothing


def test_a_damaged_engine_is_refused_before_tensorrt_sees_it(tensorrt, engine_artifact) -> None:
    simulation = tensorrt()
    artifact = engine_artifact()
    path = artifact.folder / "model.engine"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="is not the file that the manifest describes"):
        TensorRTRuntime(artifact, backend="tensorrt")
    assert not simulation.made


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n" + bytes(64)], ids=["empty", "png"])
def test_a_file_that_is_no_engine_is_one_clear_line(data: bytes, tensorrt, engine_artifact) -> None:
    tensorrt()
    artifact = engine_artifact()
    (artifact.folder / "model.engine").write_bytes(data)
    artifact = rewritten(artifact.folder, artifact.manifest)
    with pytest.raises(
        EngineError, match=r"tensorrt 10\.16\.1\.11 does not take the engine: Error Code 3"
    ) as raised:
        TensorRTRuntime(artifact, backend="tensorrt")
    assert "\n" not in str(raised.value)


def test_an_invalid_header_is_refused_before_it_is_loaded(tensorrt, engine_artifact) -> None:
    simulation = tensorrt("tensorrt-rtx")
    simulation.validity = (EngineValidity.INVALID, int(EngineInvalidityDiagnostics.OLD_CUDA_DRIVER))
    with pytest.raises(EngineError, match="update the driver"):
        TensorRTRuntime(engine_artifact(backend="tensorrt-rtx"), backend="tensorrt-rtx")
    assert set(simulation.made) == {"runtime"}


def test_an_engine_of_another_gpu_is_refused_before_anything_is_loaded(
    fake, tensorrt, engine_artifact
) -> None:
    simulation = tensorrt()
    device = msgspec.structs.replace(
        engine_artifact().manifest.engines[0].device, name="NVIDIA H100"
    )
    artifact = engine_artifact("uint8", device=device)
    with pytest.raises(
        RuntimeUnavailableError, match=r"is for NVIDIA H100 .*this GPU is Simulated GPU"
    ):
        TensorRTRuntime(artifact, backend="tensorrt")
    assert not simulation.made
    assert fake.calls("cuDevicePrimaryCtxRetain") == 0


def test_a_machine_without_a_gpu_says_so(fake, tensorrt, engine_artifact) -> None:
    tensorrt()
    fake.set_device_count(0)
    with pytest.raises(
        RuntimeUnavailableError, match=r"needs an NVIDIA GPU, and here .*choose another runtime"
    ):
        TensorRTRuntime(engine_artifact(), backend="tensorrt")


def test_wrong_numbers_are_refused_with_their_figures(fake, tensorrt, engine_artifact) -> None:
    simulation = tensorrt()
    artifact = engine_artifact()
    reference = read_reference(artifact)
    reference = dataclasses.replace(reference, logits=reference.logits + 0.5)
    (artifact.folder / REFERENCE_FILE).write_bytes(reference.to_bytes())
    artifact = rewritten(artifact.folder, artifact.manifest)
    with pytest.raises(
        EngineError, match=r"too far from PyTorch .*logit_max_abs 0.5 > 0.00"
    ) as raised:
        TensorRTRuntime(artifact, backend="tensorrt")
    assert raised.value.problems
    fake.assert_clean()
    simulation.assert_clean()


def test_without_a_reference_the_numbers_must_be_finite(
    fake, tensorrt, engine_artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorrt()
    artifact = engine_artifact()
    artifact = rewritten(artifact.folder, artifact.manifest, reference=None)
    TensorRTRuntime(artifact, backend="tensorrt").close()
    monkeypatch.setattr(ExecutionContext, "enqueue", lambda _: None)  # new memory is NaN
    with pytest.raises(EngineError, match="gives logits that are not finite numbers"):
        TensorRTRuntime(artifact, backend="tensorrt")


class TestPlantedMistakes:
    """The product is broken on purpose; the tests above must notice each mistake."""

    def test_a_dropped_synchronisation_is_seen(
        self, fake, memory_name: str, tensorrt, engine_artifact, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tensorrt()
        artifact = engine_artifact()
        runtime = TensorRTRuntime(artifact, backend="tensorrt", memory=memory_name, contexts=1)
        array = images_of(artifact, 2)
        expected = expected_of(artifact, array)
        assert_same(runtime.run({"image": array}), expected)
        with monkeypatch.context() as patch:
            patch.setattr(type(runtime._pool._memory), "synchronize", lambda *_: None)
            outputs = runtime.run({"image": array})
        with pytest.raises(AssertionError):
            assert_same(outputs, expected)
        runtime.close()

    def test_a_dropped_synchronisation_does_not_pass_the_test_input(
        self, fake, memory_name: str, tensorrt, engine_artifact, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tensorrt()
        monkeypatch.setattr(_memory_class(memory_name), "synchronize", lambda *_: None)
        with pytest.raises(EngineError, match="too far from PyTorch"):
            TensorRTRuntime(engine_artifact(), backend="tensorrt", memory=memory_name)
        assert fake.take_violations()
        fake.forget()

    def test_a_buffer_freed_early_is_seen(
        self, fake, memory_name: str, tensorrt, engine_artifact, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tensorrt()
        enqueue = ExecutionContext.enqueue

        def enqueue_and_free(execution: Any) -> None:
            enqueue(execution)
            execution._memory.free(execution._source.address)

        monkeypatch.setattr(ExecutionContext, "enqueue", enqueue_and_free)
        with pytest.raises(EngineError):
            TensorRTRuntime(engine_artifact(), backend="tensorrt", memory=memory_name).close()
        assert any("freed" in violation for violation in fake.take_violations())
        fake.forget()

    def test_a_context_that_is_not_popped_is_seen(
        self, fake, memory_name: str, tensorrt, engine_artifact, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tensorrt()
        artifact = engine_artifact()
        runtime = TensorRTRuntime(artifact, backend="tensorrt", memory=memory_name)
        memory = runtime._pool._memory
        kept = []

        @contextlib.contextmanager
        def pushed_and_left(this: Any) -> Iterator[None]:
            kept.append(current(this))
            kept[-1].__enter__()
            yield

        current = type(memory).current
        with monkeypatch.context() as patch:
            patch.setattr(type(memory), "current", pushed_and_left)
            runtime.run({"image": images_of(artifact, 1)})
        assert fake.live()["contexts not popped"] == 1
        kept[-1].__exit__(None, None, None)
        runtime.close()

    def test_a_pooled_context_that_is_not_closed_is_seen(
        self, fake, memory_name: str, tensorrt, engine_artifact, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        simulation = tensorrt()
        runtime = TensorRTRuntime(engine_artifact(), backend="tensorrt", memory=memory_name)
        left = []
        with monkeypatch.context() as patch:
            patch.setattr(PooledContext, "close", lambda pooled: left.append(pooled))  # noqa: PLW0108 - a built-in is not bound
            runtime.close()
        with pytest.raises(AssertionError):
            fake.assert_clean()
        fake.take_violations()
        fake.forget()
        for pooled in left:
            pooled._plain._context = None
        simulation.mistakes.clear()

    def test_an_engine_freed_before_its_contexts_is_seen(
        self, tensorrt, engine_artifact, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        simulation = tensorrt()
        artifact = engine_artifact()
        runtime = TensorRTRuntime(artifact, backend="tensorrt", contexts=1, cuda_graphs=False)
        with runtime._pool.acquire() as pooled:
            native, pooled._plain._context = pooled._plain._context, None
        del native.engine  # the real one would keep its engine alive; only the order matters here
        runtime.close()
        del native
        assert "engine is freed before its context" in simulation.mistakes
        simulation.mistakes.clear()

    def test_a_graph_of_a_context_that_changes_is_seen(
        self, tensorrt, engine_artifact, opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tensorrt()
        artifact = engine_artifact()
        runtime = opened(artifact, memory="cuda-bindings", contexts=1)
        with runtime._pool.acquire() as pooled:
            pooled._graphs._new_context = lambda: pooled._plain
        array = images_of(artifact, 2)
        for _ in range(2):
            runtime.run({"image": array})
        runtime.run({"image": images_of(artifact, 5)})
        assert np.isnan(runtime.run({"image": array})["logits"]).all()

    def test_a_shape_that_is_captured_before_it_ran_is_seen(
        self, tensorrt, engine_artifact, opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        simulation = tensorrt()

        def captured(this: ShapeGraphs, shape: Any) -> Any:
            context = this._new_context()
            context.prepare(shape)
            return this._record(context), context

        monkeypatch.setattr(ShapeGraphs, "_capture", captured)
        artifact = engine_artifact()
        runtime = opened(artifact, memory="cuda-bindings", contexts=1)
        for _ in range(2):
            runtime.run({"image": images_of(artifact, 2)})
        assert simulation.mistakes == ["a shape is captured that never ran plain"]
        simulation.mistakes.clear()

    @pytest.mark.parametrize("locked", [True, False], ids=["as it is", "without the lock"])
    def test_two_streams_that_make_contexts_at_once_are_seen(
        self, locked: bool, tensorrt, engine_artifact, opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        simulation = tensorrt()
        artifact = engine_artifact()
        runtime = opened(artifact, memory="cuda-bindings", contexts=2)
        array = images_of(artifact, 2)
        inside = threading.Barrier(2)
        both = threading.Barrier(
            2, action=lambda: setattr(simulation, "while_a_context_is_made", lambda: _wait(inside))
        )

        def captured() -> None:
            with runtime._pool.acquire() as pooled:
                both.wait()
                into = {
                    spec.name: np.empty((2, *spec.shape[1:]), np.float32)
                    for spec in runtime.outputs
                }
                if not locked:
                    pooled._engine._creating = contextlib.nullcontext()
                for _ in range(2):
                    pooled.run(array, into)

        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(captured) for _ in range(2)]:
                future.result()
        assert simulation.mistakes == ([] if locked else ["two threads are in one engine"])
        simulation.mistakes.clear()

    def test_a_native_object_that_outlives_the_context_is_seen(
        self, tensorrt, engine_artifact, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        simulation = tensorrt()
        monkeypatch.setattr(Engine, "close", lambda _: None)
        TensorRTRuntime(engine_artifact(), backend="tensorrt").close()
        gc.collect()
        assert "engine is freed without a current CUDA context" in simulation.mistakes
        simulation.mistakes.clear()


def _wait(barrier: threading.Barrier) -> None:
    """For the other thread, if it comes: a short while, for it must not come at all."""
    with contextlib.suppress(threading.BrokenBarrierError):
        barrier.wait(0.3)


def _memory_class(name: str) -> type:
    if name == "pycuda":
        from motivnet_engines.runtimes.tensorrt.cuda.pycuda import PyCudaMemory

        return PyCudaMemory
    from motivnet_engines.runtimes.tensorrt.cuda.bindings import CudaBindingsMemory

    return CudaBindingsMemory
