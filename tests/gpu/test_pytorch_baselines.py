"""The PyTorch baselines on the GPU: near PyTorch in FP32 on the CPU, and benchmarked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from motivnet.model.runtime import Compute, TorchRuntime
from motivnet.parity import Outputs, Precision, compare
from motivnet.preprocess import Preprocessing
from motivnet_bench.latency.baselines import default_baselines, row_name
from motivnet_engines.system.nvidia import Gpu

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu"), pytest.mark.timeout(600)]

COMPUTES: tuple[tuple[Compute, Precision], ...] = (
    ("float32", "fp32"),
    ("float16", "fp16"),
    ("bfloat16", "bf16"),
)
SIZES = ("tiny", pytest.param("sapiens-0.3b", marks=pytest.mark.slow))


def _outputs(subject: Any, compute: Compute) -> Outputs:
    preprocessing = Preprocessing.named("stretch", size=subject.config.encoder.image_size)
    with TorchRuntime(
        subject.model, config=subject.config, compute=compute, device="cuda"
    ) as runtime:
        rows = [
            runtime.run({"image": preprocessing.normalise(pixels[None])})
            for pixels in subject.pixels
        ]
    return Outputs(
        logits=np.concatenate([row["logits"] for row in rows]),
        embedding=np.concatenate([row["embedding"] for row in rows]),
        seconds_per_image=0.0,
    )


@pytest.mark.parametrize(("compute", "precision"), COMPUTES)
@pytest.mark.parametrize("size", SIZES)
def test_the_gpu_gives_what_the_cpu_gives(
    size: str, compute: Compute, precision: Precision, subject_of: Any
) -> None:
    subject = subject_of(size)
    found = compare(
        "pytorch",
        _outputs(subject, compute),
        subject.reference,
        compute=compute,
        evidence="rounding",
        precision=precision,
    )
    print(f"\n{size} {compute}: {found}")
    assert found.passed, found.failures


def test_fp32_is_not_tf32(subject_of: Any) -> None:
    """TF32 has a mantissa of ten bits: a convolution in it is much less exact than in FP32."""
    subject = subject_of("tiny")
    found = compare(
        "pytorch",
        _outputs(subject, "float32"),
        subject.reference,
        compute="float32",
        evidence="graph",
        precision="fp32",
    )
    assert found.logit_max_abs <= 1e-5 * max(1.0, float(np.abs(subject.reference.logits).max()))


@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_the_benchmark_measures_them(
    device: Literal["cuda", "auto"], subject_of: Any, run: Any, tmp_path: Path, gpu: Gpu
) -> None:
    artifact = tmp_path / "a"
    words = (
        "--checkpoint",
        subject_of("tiny").checkpoint,
        "--out",
        artifact,
        "--fp16",
        "--target",
        "onnx",
    )
    assert run("motivnet_export", "build", *words).status == 0
    words = (
        "--device",
        device,
        "--rounds",
        "2",
        "--seconds",
        "0.1",
        "--out",
        tmp_path / "report",
        "--json",
    )
    result = run("motivnet_bench", "latency", artifact, *words).document
    baselines = {row["name"]: row for row in result["candidates"] if row["role"] != "runtime"}
    expected, _ = default_baselines(device="cuda", precision="fp16")
    assert list(baselines) == [row_name(name) for name in expected]
    for row in baselines.values():
        assert row["error"] is None
        assert row["device"] == gpu.name == torch.cuda.get_device_name(0)
