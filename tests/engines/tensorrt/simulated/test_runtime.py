"""The runtime on a simulated TensorRT and a fake CUDA driver: numbers, threads, refusals."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pytest
from simulated_trt import BUDGET, DataType
from simulated_trt.fixtures import (
    assert_same,
    engine_artifact,
    expected_of,
    images_of,
    opened,
    rewritten,
    tensorrt,
)

from motivnet.errors import (
    ArtifactError,
    ConfigError,
    EngineError,
    InputError,
    RuntimeUnavailableError,
)
from motivnet.runtime import Runtime
from motivnet_engines.runtimes.selection import open_runtime
from motivnet_engines.runtimes.tensorrt.runtime import TensorRTRuntime

__all__ = ["engine_artifact", "opened", "tensorrt"]

BACKENDS = ["tensorrt", "tensorrt-rtx"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, 3, 8, 19])
def test_outputs_are_bit_for_bit_those_of_onnx_runtime(
    batch: int, backend: str, memory_name: str, tensorrt, engine_artifact, opened
) -> None:
    tensorrt(backend)
    artifact = engine_artifact(backend=backend)
    runtime = opened(artifact, memory=memory_name)
    array = images_of(artifact, batch)
    expected = expected_of(artifact, array)
    for _ in range(4):  # without a graph, while it is captured, and by it
        assert_same(runtime.run({"image": array}), expected)


@pytest.mark.parametrize("form", ["fp16", "uint8"])
def test_other_dtypes_too(form: str, memory_name: str, tensorrt, engine_artifact, opened) -> None:
    tensorrt()
    artifact = engine_artifact(form)
    array = images_of(artifact, 11)
    assert_same(
        opened(artifact, memory=memory_name).run({"image": array}), expected_of(artifact, array)
    )


def test_images_of_any_size_are_taken_within_the_profile(
    tensorrt, memory_name, engine_artifact, opened
) -> None:
    tensorrt()
    artifact = engine_artifact("image")
    runtime = opened(artifact, memory=memory_name)
    for size in ((16, 16), (300, 200), (57, 133)):
        array = images_of(artifact, 9, size=size)
        assert_same(runtime.run({"image": array}), expected_of(artifact, array))
    for size in ((15, 16), (301, 200), (300, 201)):
        with pytest.raises(
            InputError, match=rf"16x16 to 300x200 \(height x width\), not {size[0]}x{size[1]}"
        ):
            runtime.run({"image": images_of(artifact, 1, size=size)})


def test_a_strided_view_gives_what_its_copy_gives(
    tensorrt, memory_name, engine_artifact, opened
) -> None:
    tensorrt()
    artifact = engine_artifact()
    view = images_of(artifact, 20)[::2, :, ::-1]
    assert_same(
        opened(artifact, memory=memory_name).run({"image": view}),
        expected_of(artifact, view.copy()),
    )


def test_results_outlive_the_next_call_and_the_runtime(
    tensorrt, memory_name, engine_artifact, opened
) -> None:
    tensorrt()
    artifact = engine_artifact()
    runtime = opened(artifact, memory=memory_name)
    array = images_of(artifact, 2)
    first = runtime.run({"image": array})
    runtime.run({"image": images_of(artifact, 2, seed=1)})
    runtime.close()
    assert_same(first, expected_of(artifact, array))


@pytest.mark.parametrize("cuda_graphs", [True, False], ids=["graphs", "plain"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_eight_threads_get_their_own_results(
    backend: str, cuda_graphs: bool, memory_name: str, tensorrt, engine_artifact, opened
) -> None:
    simulation = tensorrt(backend)
    artifact = engine_artifact(backend=backend)
    runtime = opened(artifact, memory=memory_name, contexts=3, cuda_graphs=cuda_graphs)
    batches = [images_of(artifact, 1 + seed % 10, seed=seed) for seed in range(20)]
    expected = [expected_of(artifact, array) for array in batches]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for outputs, wanted in zip(
                pool.map(lambda a: runtime.run({"image": a}), batches), expected, strict=True
            ):
                assert_same(outputs, wanted)
    captured = cuda_graphs and backend == "tensorrt" and memory_name == "cuda-bindings"
    assert (simulation.made["context"] > 3) == captured


def test_contexts_are_made_when_they_are_needed_and_no_more_than_allowed(
    fake, tensorrt, memory_name, engine_artifact, opened
) -> None:
    simulation = tensorrt()
    artifact = engine_artifact()
    runtime = opened(artifact, memory=memory_name, contexts=2, cuda_graphs=False)
    for _ in range(3):
        runtime.run({"image": images_of(artifact, 1)})
    assert (simulation.alive["context"], fake.live_streams()) == (1, 1)
    with runtime._pool.acquire(), runtime._pool.acquire():
        assert (simulation.alive["context"], fake.live_streams()) == (2, 2)
        third = threading.Thread(target=lambda: runtime.run({"image": images_of(artifact, 1)}))
        third.start()
        third.join(0.2)
        assert third.is_alive()
    third.join(20)
    assert not third.is_alive()
    assert simulation.alive["context"] == 2


def test_a_runtime_says_what_it_is(tensorrt, memory_name, engine_artifact, opened) -> None:
    tensorrt("tensorrt-rtx")
    runtime = opened(engine_artifact("fp16", "tensorrt-rtx"), memory=memory_name)
    assert isinstance(runtime, Runtime)
    assert (runtime.name, runtime.compute) == ("tensorrt-rtx", "float16")
    assert [str(spec) for spec in runtime.inputs] == ["float32 (batch, 3, 128, 96)"]
    assert [(spec.name, spec.shape) for spec in runtime.outputs] == [
        ("logits", (None, 7)),
        ("embedding", (None, 96)),
    ]


def test_the_dispatch_opens_it(tensorrt, engine_artifact) -> None:
    tensorrt()
    artifact = engine_artifact()
    array = images_of(artifact, 2)
    with open_runtime(artifact, runtime="tensorrt") as runtime:
        assert_same(runtime.run({"image": array}), expected_of(artifact, array))


BAD_INPUTS: dict[str, tuple[Any, str]] = {
    "dtype": (
        lambda a: {"image": a.astype(np.float64)},
        "must be float32 (batch, 3, 128, 96), not float64",
    ),
    "size": (lambda a: {"image": a[..., :95]}, "not float32 (1, 3, 128, 95)"),
    "rank": (lambda a: {"image": a[0]}, "not float32 (3, 128, 96)"),
    "no image": (lambda a: {"image": a[:0]}, "not float32 (0, 3, 128, 96)"),
    "name": (lambda a: {"pixels": a}, "the inputs are ['image'], not ['pixels']"),
    "a list": (lambda _: {"image": [[0.0]]}, "must be a NumPy array, not list"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_arrays_that_do_not_fit_are_refused(case: str, tensorrt, engine_artifact, opened) -> None:
    tensorrt()
    artifact = engine_artifact()
    arrays, message = BAD_INPUTS[case]
    with pytest.raises(InputError) as raised:
        opened(artifact).run(arrays(images_of(artifact, 1)))
    assert message in str(raised.value)


def test_closing_twice_is_closing_once_and_a_closed_runtime_says_so(
    fake, memory_name: str, tensorrt, engine_artifact
) -> None:
    simulation = tensorrt()
    artifact = engine_artifact()
    with TensorRTRuntime(artifact, backend="tensorrt", memory=memory_name) as runtime:
        runtime.run({"image": images_of(artifact, 1)})
    runtime.close()
    with pytest.raises(
        RuntimeUnavailableError, match="the tensorrt runtime is closed; open the artifact again"
    ):
        runtime.run({"image": images_of(artifact, 1)})
    fake.assert_clean()
    simulation.assert_clean()


def test_closing_waits_for_the_calls_under_way(
    fake, memory_name: str, tensorrt, engine_artifact, opened
) -> None:
    tensorrt()
    artifact = engine_artifact()
    runtime = opened(artifact, memory=memory_name, contexts=1)
    array = images_of(artifact, 30)
    expected = expected_of(artifact, array)
    with ThreadPoolExecutor(4) as pool, runtime._pool.acquire():
        calls = [pool.submit(runtime.run, {"image": array}) for _ in range(3)]
        while len(runtime._pool._queue) < 3:
            pass
        closing = threading.Thread(target=runtime.close)
        closing.start()
        closing.join(0.2)
        assert closing.is_alive()
    for call in calls:
        assert_same(call.result(), expected)
    closing.join(20)
    fake.assert_clean()


def test_closing_from_several_threads_frees_once(
    fake, memory_name: str, tensorrt, engine_artifact
) -> None:
    simulation = tensorrt()
    artifact = engine_artifact()
    runtime = TensorRTRuntime(artifact, backend="tensorrt", memory=memory_name)
    array = images_of(artifact, 20)
    started = threading.Barrier(8)

    def run_or_close(number: int) -> None:
        started.wait()
        if number % 2:
            runtime.close()
            fake.assert_clean()  # whoever returns from close finds it done
        else:
            with contextlib.suppress(RuntimeUnavailableError):
                runtime.run({"image": array})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run_or_close, range(8)))
    simulation.assert_clean()


def test_many_runs_leave_no_more_than_a_few(
    fake, memory_name: str, tensorrt, engine_artifact, opened
) -> None:
    simulation = tensorrt()
    artifact = engine_artifact()
    runtime = opened(artifact, memory=memory_name, contexts=1)
    array = images_of(artifact, 1)
    for _ in range(3):
        runtime.run({"image": array})
    before, contexts = fake.live(), dict(simulation.alive)
    for _ in range(300):
        runtime.run({"image": array})
    assert (fake.live(), dict(simulation.alive)) == (before, contexts)


def test_callers_are_served_in_their_order(tensorrt, engine_artifact, opened) -> None:
    tensorrt()
    runtime = opened(engine_artifact(), contexts=1)
    served: list[int] = []

    def call(number: int) -> None:
        with runtime._pool.acquire():
            served.append(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(12)]
    with runtime._pool.acquire():
        for waiting, thread in enumerate(threads, start=1):
            thread.start()
            while len(runtime._pool._queue) < waiting:
                pass
    for thread in threads:
        thread.join(20)
    assert served == list(range(12))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"contexts": 0}, "contexts must be"), ({"device": -1}, "device must be")],
)
def test_counts_that_make_no_sense_are_refused(
    options: dict[str, int], message: str, tensorrt, engine_artifact
) -> None:
    tensorrt()
    with pytest.raises(ConfigError, match=message):
        TensorRTRuntime(engine_artifact(), backend="tensorrt", **options)


def test_the_weight_streaming_budget_is_the_automatic_one(
    tensorrt, engine_artifact, opened
) -> None:
    simulation = tensorrt()
    opened(engine_artifact(weight_streaming=True))
    assert simulation.budgets == [BUDGET]


def test_an_engine_whose_tensors_are_not_the_manifests_is_refused(
    tensorrt, engine_artifact, opened
) -> None:
    simulation = tensorrt()
    simulation.tensor_dtypes["logits"] = DataType.BF16
    with pytest.raises(
        ArtifactError, match=r"'logits' should be float32 \(batch, 7\), not bf16 \(batch, 7\)"
    ):
        opened(engine_artifact())


def test_an_engine_whose_profile_is_not_the_manifests_is_refused(
    tensorrt, engine_artifact, opened
) -> None:
    tensorrt()
    artifact = engine_artifact()
    engine = artifact.manifest.engines[0]
    other = msgspec.structs.replace(
        engine, profile=msgspec.structs.replace(engine.profile, max_batch=4)
    )
    artifact = rewritten(artifact.folder, artifact.manifest, engines=(other,))
    with pytest.raises(
        EngineError,
        match=r"profile is not the manifest's.*\(4, 3, 128, 96\), not .*\(8, 3, 128, 96\)",
    ):
        opened(artifact)
