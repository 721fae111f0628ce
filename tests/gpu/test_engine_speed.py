"""Engines beside PyTorch on the same GPU, by the benchmark itself and by its command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from motivnet.artifact.engine_entry import EngineBackend
from motivnet_bench.latency.measure import Options, measure_latency
from motivnet_bench.latency.result import read_result
from motivnet_bench.target import target_from_artifact

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu"), pytest.mark.timeout(3600)]

SIZES = ("tiny", pytest.param("sapiens-0.3b", marks=pytest.mark.slow))
BACKENDS: tuple[EngineBackend, ...] = ("tensorrt", "tensorrt-rtx")


@pytest.fixture(scope="module")
def torch_on_cuda() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a PyTorch with CUDA, to be compared with")


@pytest.mark.usefixtures("torch_on_cuda")
@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", SIZES)
def test_an_fp16_engine_is_faster_than_pytorch_in_fp16(
    size: str, backend: EngineBackend, batch: int, artifact_of: Any, subject_of: Any
) -> None:
    artifact = artifact_of(size, "fp16", backend)
    subject = target_from_artifact(artifact.folder, checkpoint=subject_of(size).checkpoint)
    result = measure_latency(
        subject,
        Options(
            batch_size=batch,
            device="cuda",
            runtimes=(backend,),
            baselines=("fp32", "fp16"),
            warmup=10,
        ),
    )
    engine, pytorch = result.candidate(backend), result.candidate("pytorch-fp16")
    assert engine is not None
    assert pytorch is not None
    assert engine.error is None
    assert pytorch.error is None
    assert engine.metrics is not None
    assert pytorch.metrics is not None
    rates = engine.metrics.images_per_second, pytorch.metrics.images_per_second
    print(f"\n{size} batch {batch}: {backend} {rates[0]:.1f} images/s, pytorch-fp16 {rates[1]:.1f}")
    assert rates[0] > rates[1]
    assert engine.metrics.top1_agrees


@pytest.mark.usefixtures("torch_on_cuda")
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_command_measures_an_engine_and_writes_its_report(
    backend: EngineBackend, artifact_of: Any, subject_of: Any, run: Any, tmp_path: Path
) -> None:
    artifact = artifact_of("tiny", "fp16", backend)
    words = (
        artifact.folder,
        "--checkpoint",
        subject_of("tiny").checkpoint,
        "--runtime",
        backend,
        "--rounds",
        "2",
    )
    done = run(
        "motivnet_bench", "latency", *words, "--device", "cuda", "--out", tmp_path / "report"
    )
    assert done.status == 0, done.errors
    result = read_result(tmp_path / "report" / "report.json")
    row = result.candidate(backend)
    assert row is not None
    assert row.error is None
    assert result.default is not None
    assert result.default.name == backend
    assert backend in (tmp_path / "report" / "report.html").read_text()
    assert backend in (tmp_path / "report" / "report.md").read_text()


def test_doctor_sees_the_gpu(run: Any, gpu: Any) -> None:
    assert gpu.name in run("motivnet_engines", "doctor", "--json").output
