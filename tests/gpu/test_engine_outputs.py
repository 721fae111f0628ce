"""The outputs of engines: near PyTorch's, with and without CUDA graphs, in any thread."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.artifact.engine_entry import EngineBackend
from motivnet.errors import MotivNetError
from motivnet.parity import Outputs, Precision, compare
from motivnet.runtime import Runtime
from motivnet_engines.runtimes.registry import check_possible, open_backend
from motivnet_engines.runtimes.signature import input_from_pixels
from motivnet_engines.runtimes.tensorrt.cuda.base import MemoryName
from motivnet_engines.runtimes.tensorrt.runtime import TensorRTRuntime

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu"), pytest.mark.timeout(3600)]

SIZES = ("tiny", pytest.param("sapiens-0.3b", marks=pytest.mark.slow))
BACKENDS: tuple[EngineBackend, ...] = ("tensorrt", "tensorrt-rtx")
PRECISIONS: tuple[Precision, ...] = ("fp16", "bf16", "fp32")
CLOSE = 2e-2
"""TensorRT-RTX later replaces a kernel by one compiled for the shape, which rounds differently."""


def outputs_of(
    runtime: Runtime, artifact: Artifact, pixels: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    entry = artifact.manifest.input
    return runtime.run({entry.name: input_from_pixels(entry, pixels)})


def same(backend: EngineBackend, first: NDArray[np.float32], second: NDArray[np.float32]) -> bool:
    """Equal to the bit, where a backend promises that."""
    if backend == "tensorrt":
        return bool(np.array_equal(first, second))
    return bool(
        np.allclose(first, second, atol=CLOSE * max(1.0, float(np.abs(second).max())), rtol=0)
    )


def assert_near(
    artifact: Artifact,
    runtime: Runtime,
    outputs: dict[str, NDArray[np.float32]],
    reference: Outputs,
) -> None:
    found = compare(
        runtime.name,
        Outputs(logits=outputs["logits"], embedding=outputs["embedding"], seconds_per_image=0.0),
        reference,
        compute=runtime.compute,
        evidence="runtime",
        precision=artifact.manifest.precision,
    )
    print(f"\n{found}")
    assert found.passed, found.failures


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", SIZES)
def test_an_engine_is_near_pytorch_at_every_batch(
    size: str, backend: EngineBackend, precision: Precision, artifact_of: Any, subject_of: Any
) -> None:
    artifact, subject = artifact_of(size, precision, backend), subject_of(size)
    with open_backend(backend, artifact) as runtime:
        for batch in (1, 3, 8, 19):
            reference = Outputs(
                logits=subject.reference.logits[:batch],
                embedding=subject.reference.embedding[:batch],
                seconds_per_image=0.0,
            )
            assert_near(
                artifact, runtime, outputs_of(runtime, artifact, subject.pixels[:batch]), reference
            )


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", SIZES)
def test_cuda_graphs_change_nothing(
    size: str, backend: EngineBackend, precision: Precision, artifact_of: Any, subject_of: Any
) -> None:
    artifact, pixels = artifact_of(size, precision, backend), subject_of(size).pixels
    with (
        TensorRTRuntime(artifact, backend=backend, contexts=1, cuda_graphs=False) as plain,
        TensorRTRuntime(artifact, backend=backend, contexts=1, cuda_graphs=True) as graphs,
    ):
        for batch in (1, 3, 8, 1, 3, 8, 19, 1, 3, 8, 19):
            wanted, found = (
                outputs_of(runtime, artifact, pixels[:batch]) for runtime in (plain, graphs)
            )
            for name in wanted:
                assert same(backend, found[name], wanted[name]), (batch, name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_input_gives_one_output_however_often_it_is_run(
    backend: EngineBackend, artifact_of: Any, subject_of: Any
) -> None:
    artifact, pixels = artifact_of("tiny", "fp16", backend), subject_of("tiny").pixels
    with open_backend(backend, artifact) as runtime:
        wanted = outputs_of(runtime, artifact, pixels[:3])
        for _ in range(50):
            outputs_of(runtime, artifact, pixels[8:16])
            assert same(
                backend, outputs_of(runtime, artifact, pixels[:3])["logits"], wanted["logits"]
            )


@pytest.mark.parametrize("contexts", [1, 2, 8])
@pytest.mark.parametrize("backend", BACKENDS)
def test_eight_threads_get_their_own_outputs(
    backend: EngineBackend, contexts: int, artifact_of: Any, subject_of: Any
) -> None:
    artifact, pixels = artifact_of("tiny", "fp16", backend), subject_of("tiny").pixels
    with TensorRTRuntime(artifact, backend=backend, contexts=contexts) as runtime:
        wanted = [
            outputs_of(runtime, artifact, pixels[first : first + 1 + first]) for first in range(8)
        ]

        def calls(first: int) -> bool:
            found = (
                outputs_of(runtime, artifact, pixels[first : first + 1 + first]) for _ in range(200)
            )
            return all(same(backend, each["logits"], wanted[first]["logits"]) for each in found)

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(calls, range(8))) == [True] * 8


@pytest.mark.parametrize("memory", ["cuda-bindings", "pycuda"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_both_bindings_of_cuda_run_an_engine(
    backend: EngineBackend, memory: MemoryName, artifact_of: Any, subject_of: Any
) -> None:
    if importlib.util.find_spec({"cuda-bindings": "cuda", "pycuda": "pycuda"}[memory]) is None:
        pytest.skip(f"needs {memory}")
    artifact, subject = artifact_of("tiny", "fp16", backend), subject_of("tiny")
    with TensorRTRuntime(artifact, backend=backend, memory=memory) as runtime:
        for _ in range(3):
            assert_near(
                artifact, runtime, outputs_of(runtime, artifact, subject.pixels), subject.reference
            )


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_engine_runs_beside_pytorch_in_one_process(
    backend: EngineBackend, artifact_of: Any, subject_of: Any
) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a PyTorch with CUDA")
    artifact, subject = artifact_of("tiny", "fp16", backend), subject_of("tiny")
    ones = torch.ones(256, 256, device="cuda")
    with open_backend(backend, artifact) as runtime:
        for _ in range(10):
            assert float((ones @ ones)[0, 0]) == 256.0
            assert_near(
                artifact, runtime, outputs_of(runtime, artifact, subject.pixels), subject.reference
            )
    assert float((ones @ ones).sum()) == 256.0**3


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_onnxruntime_on_cuda_is_near_pytorch(
    precision: Precision, artifact_of: Any, subject_of: Any
) -> None:
    artifact, subject = artifact_of("tiny", precision, "tensorrt"), subject_of("tiny")
    try:
        check_possible("onnxruntime-cuda", artifact.manifest)
    except MotivNetError as error:
        pytest.skip(str(error))
    with open_backend("onnxruntime-cuda", artifact) as runtime:
        outputs = outputs_of(runtime, artifact, subject.pixels[:8])
        reference = Outputs(
            logits=subject.reference.logits[:8],
            embedding=subject.reference.embedding[:8],
            seconds_per_image=0.0,
        )
        assert_near(artifact, runtime, outputs, reference)
