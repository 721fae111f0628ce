"""ONNX Runtime and OpenVINO as runtimes: their numbers, their manners and their refusals."""

from __future__ import annotations

import functools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from motivnet.config import ModelConfig
from motivnet.errors import ArtifactError, ConfigError, InputError, RuntimeUnavailableError
from motivnet.model import MotivNet
from motivnet.parity import AttentionForm
from motivnet.runtime import Runtime
from motivnet_engines.runtimes import onnxruntime_ as ort_adapter
from motivnet_engines.runtimes import openvino_ as openvino_adapter
from motivnet_engines.runtimes.cuda_provider import cuda_provider_options
from motivnet_engines.runtimes.fake import fake_manifest
from motivnet_engines.runtimes.onnxruntime_ import OnnxRuntime
from motivnet_engines.runtimes.openvino_ import OpenVINORuntime, has_bf16
from motivnet_engines.runtimes.registry import check_possible, open_backend

needs_bf16 = pytest.mark.skipif(not has_bf16(), reason="this processor has no BF16 instructions")
ON_EVERY_CPU = ["onnxruntime", "openvino"]
EVERYWHERE_HERE = [*ON_EVERY_CPU, pytest.param("openvino-bf16", marks=needs_bf16)]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def images(batch: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, 3, 128, 96)).astype(np.float32)


@pytest.fixture
def opened(copied_artifact):
    """A function that opens a fresh artifact and closes it after the test."""
    runtimes: list[Runtime] = []
    artifact_of = functools.cache(copied_artifact)

    def opener(name: str, precision: str = "fp32") -> Runtime:
        runtimes.append(open_backend(name, artifact_of(precision), threads=1))
        return runtimes[-1]

    yield opener
    for runtime in runtimes:
        runtime.close()


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("name", ON_EVERY_CPU)
def test_fp32_outputs_are_those_of_pytorch(
    name: str, batch: int, opened, tiny_model: MotivNet
) -> None:
    image = images(batch)
    with torch.no_grad():
        logits, embedding = tiny_model.logits_and_embedding(torch.from_numpy(image))
    outputs = opened(name).run({"image": image})
    assert list(outputs) == ["logits", "embedding"]
    np.testing.assert_allclose(outputs["logits"], logits.numpy(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(outputs["embedding"], embedding.numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("onnxruntime", "fp16"),
        ("openvino", "fp16"),
        ("openvino", "bf16"),
        pytest.param("openvino-bf16", "fp32", marks=needs_bf16),
        pytest.param("openvino-bf16", "fp16", marks=needs_bf16),
        pytest.param("openvino-bf16", "bf16", marks=needs_bf16),
    ],
)
def test_smaller_dtypes_stay_near_pytorch(
    name: str, precision: str, opened, tiny_model: MotivNet
) -> None:
    image = images(3)
    with torch.no_grad():
        expected = tiny_model(torch.from_numpy(image)).numpy()
    logits = opened(name, precision).run({"image": image})["logits"]
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-2)


@needs_bf16
def test_bf16_is_really_computed_in_bf16(opened) -> None:
    exact, rounded = (
        opened(name).run({"image": images(3)})["logits"] for name in ("openvino", "openvino-bf16")
    )
    assert np.abs(exact - rounded).max() > 1e-6


SIGNALLED = """
import os, signal, sys
from motivnet.artifact import open_artifact
from motivnet_engines.runtimes.registry import open_backend
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
first, second = (open_backend("openvino", open_artifact(sys.argv[1])) for _ in range(2))
first.close(), second.close()
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_a_signal_is_handled_after_two_runtimes_were_closed_in_the_order_in_which_they_were_opened(
    fp32_artifact: Path,
) -> None:
    line = [sys.executable, "-X", "faulthandler", "-c", SIGNALLED, str(fp32_artifact)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


@pytest.mark.parametrize(
    ("name", "compute"),
    [
        ("onnxruntime", "float32"),
        ("openvino", "float32"),
        pytest.param("openvino-bf16", "bfloat16", marks=needs_bf16),
    ],
)
def test_a_runtime_says_what_it_is(name: str, compute: str, opened) -> None:
    runtime = opened(name)
    assert isinstance(runtime, Runtime)
    assert (runtime.name, runtime.compute) == (name, compute)
    assert [str(spec) for spec in runtime.inputs] == ["float32 (batch, 3, 128, 96)"]
    assert [(spec.name, spec.shape) for spec in runtime.outputs] == [
        ("logits", (None, 7)),
        ("embedding", (None, 96)),
    ]


BAD_INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "dtype": (
        {"image": images(1).astype(np.float64)},
        "must be float32 (batch, 3, 128, 96), not float64",
    ),
    "size": ({"image": images(1)[..., :95]}, "not float32 (1, 3, 128, 95)"),
    "rank": ({"image": images(1)[0]}, "not float32 (3, 128, 96)"),
    "no image": ({"image": images(1)[:0]}, "not float32 (0, 3, 128, 96)"),
    "name": ({"pixels": images(1)}, "the inputs are ['image'], not ['pixels']"),
    "one too many": ({"image": images(1), "mask": images(1)}, "not ['image', 'mask']"),
    "nothing": ({}, "the inputs are ['image'], not []"),
    "a list": ({"image": [[0.0]]}, "must be a NumPy array, not list"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
@pytest.mark.parametrize("name", ON_EVERY_CPU)
def test_arrays_that_do_not_fit_are_refused(name: str, case: str, opened) -> None:
    arrays, message = BAD_INPUTS[case]
    with pytest.raises(InputError) as raised:
        opened(name).run(arrays)
    assert message in str(raised.value)


@pytest.mark.parametrize("name", EVERYWHERE_HERE)
def test_a_strided_view_gives_what_its_copy_gives(name: str, opened) -> None:
    runtime = opened(name)
    view = images(4)[::2, :, ::-1]
    strided, copied = runtime.run({"image": view}), runtime.run({"image": view.copy()})
    np.testing.assert_array_equal(strided["logits"], copied["logits"])


@pytest.mark.parametrize("name", EVERYWHERE_HERE)
def test_results_outlive_the_next_call_and_the_runtime(name: str, opened) -> None:
    runtime = opened(name)
    first = runtime.run({"image": images(2)})["logits"]
    kept = first.copy()
    runtime.run({"image": images(2, seed=1)})
    runtime.close()
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("name", EVERYWHERE_HERE)
def test_closing_twice_is_closing_once_and_a_closed_runtime_says_so(name: str, opened) -> None:
    runtime = opened(name)
    with runtime:
        runtime.run({"image": images(1)})
    runtime.close()
    with pytest.raises(RuntimeUnavailableError, match=f"the {name} runtime is closed"):
        runtime.run({"image": images(1)})


@pytest.mark.parametrize("name", EVERYWHERE_HERE)
def test_four_threads_get_the_results_of_one(name: str, opened) -> None:
    runtime = opened(name)
    batches = [images(1 + seed % 3, seed=seed) for seed in range(24)]
    serial = [runtime.run({"image": batch})["logits"] for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda batch: runtime.run({"image": batch})["logits"], batches))
    for one, other in zip(serial, parallel, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ON_EVERY_CPU)
@pytest.mark.parametrize(
    "data", [PNG, b"", b"\x08\x0a", b"not a graph"], ids=["png", "empty", "bare", "text"]
)
def test_a_file_that_is_no_graph_is_one_clear_line(name: str, data: bytes, copied_artifact) -> None:
    with pytest.raises(ArtifactError, match=r"model.onnx is not opened: \S") as raised:
        open_backend(name, copied_artifact(model=data))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ON_EVERY_CPU)
def test_a_graph_that_is_not_the_manifests_is_refused(name: str, copied_artifact) -> None:
    artifact = copied_artifact(outputs=("logits",))
    with pytest.raises(ArtifactError, match="outputs that the manifest does not name: embedding"):
        open_backend(name, artifact)


@pytest.mark.parametrize("name", ON_EVERY_CPU)
@pytest.mark.parametrize("threads", [0, -1])
def test_fewer_threads_than_one_are_refused(name: str, threads: int, copied_artifact) -> None:
    with pytest.raises(ConfigError, match=f"threads must be at least 1, not {threads}"):
        open_backend(name, copied_artifact(), threads=threads)


def test_onnx_runtime_says_that_it_has_no_bf16_on_the_cpu(copied_artifact) -> None:
    with pytest.raises(
        RuntimeUnavailableError, match="no BF16 operators for the CPU; choose the runtime openvino"
    ):
        OnnxRuntime(copied_artifact("bf16"))


def test_a_processor_without_bf16_is_said_to_have_none(
    copied_artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_adapter, "has_bf16", lambda: False)
    with pytest.raises(RuntimeUnavailableError, match="no BF16 instructions"):
        OpenVINORuntime(copied_artifact(), compute="bfloat16")


def test_cuda_without_a_device_is_refused_and_not_replaced_by_the_cpu(
    copied_artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort_adapter, "cuda_device_count", lambda: 0)
    with pytest.raises(RuntimeUnavailableError, match="no CUDA device"):
        open_backend("onnxruntime-cuda", copied_artifact())


def test_cuda_without_its_provider_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_adapter, "cuda_device_count", lambda: 1)
    monkeypatch.setattr(ort_adapter, "available_providers", lambda: ("CPUExecutionProvider",))
    with pytest.raises(
        RuntimeUnavailableError, match=r"no CUDA provider.*pip install 'motivnet\[gpu\]'"
    ):
        check_possible("onnxruntime-cuda", fake_manifest())


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
@pytest.mark.skipif(
    "CUDAExecutionProvider" in ort_adapter.available_providers(), reason="CUDA is really here"
)
def test_the_silent_fallback_to_the_cpu_is_an_error(
    copied_artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort_adapter, "check_device", lambda *_, **__: None)
    with pytest.raises(
        RuntimeUnavailableError,
        match="CUDAExecutionProvider was asked for and ONNX Runtime gave CPU",
    ):
        OnnxRuntime(copied_artifact(), device="cuda")


@pytest.mark.parametrize(
    ("size", "attention", "kernel"),
    [
        ("sapiens-0.3b", "fused", "16"),
        ("sapiens-0.3b", "decomposed", None),
        ("tiny", "fused", None),
    ],
)
def test_cuda_takes_the_plain_kernel_where_others_are_wrong(
    size: str, attention: AttentionForm, kernel: str | None
) -> None:
    manifest = msgspec.structs.replace(fake_manifest(ModelConfig.named(size)), attention=attention)
    options = cuda_provider_options(manifest)
    assert (options["use_tf32"], options.get("sdpa_kernel")) == ("0", kernel)


@pytest.mark.parametrize(("device", "order"), [("cuda", ["load", "open"]), ("cpu", ["open"])])
def test_cudas_libraries_are_loaded_from_their_packages_before_a_session_on_a_gpu(
    device: ort_adapter.Device, order: list[str], copied_artifact, monkeypatch
) -> None:
    calls: list[str] = []

    def opened(*_: object, **__: object) -> None:
        calls.append("open")
        raise RuntimeError("far enough")

    ort_adapter._load_cuda_libraries.cache_clear()
    monkeypatch.setattr(ort_adapter, "check_device", lambda *_, **__: None)
    monkeypatch.setattr(ort_adapter.onnxruntime, "InferenceSession", opened)
    monkeypatch.setattr(
        ort_adapter.onnxruntime, "preload_dlls", lambda: calls.append("load"), raising=False
    )
    with pytest.raises(ArtifactError, match="far enough"):
        OnnxRuntime(copied_artifact(), device=device)
    ort_adapter._load_cuda_libraries.cache_clear()
    assert calls == order


def test_matrix_products_left_to_another_provider_are_named(copied_artifact) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = onnxruntime.InferenceSession(
        copied_artifact().model_bytes(), options, providers=["CPUExecutionProvider"]
    )
    subgraphs = session.get_provider_graph_assignment_info()
    ort_adapter.check_assignment(subgraphs, "CPUExecutionProvider")
    with pytest.raises(
        RuntimeUnavailableError, match=r"does not compute Conv, .*MatMul of this graph"
    ):
        ort_adapter.check_assignment(subgraphs, "CUDAExecutionProvider")
