"""The published size, with random weights: what an export of it takes. Minutes and gigabytes."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from motivnet.config import ModelConfig

GIB = 2**30


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_sapiens_1b_exports_to_fp16_with_external_data_and_runs(tmp_path: Path) -> None:
    path = tmp_path / "sapiens-1b.onnx"
    start = time.perf_counter()
    program = (
        "import sys; from motivnet_export.cli import main; sys.argv[0] = 'motivnet-export'; main()"
    )
    arguments = ["onnx", "--model", "sapiens-1b", "--fp16", "--out", str(path)]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    data = path.with_name(f"{path.name}.data")
    print(
        f"\nexport {seconds:.0f} s, peak {peak / GIB:.1f} GiB, "
        f"weights {data.stat().st_size / 1e9:.2f} GB"
    )
    assert peak < 14 * GIB
    assert 2.25e9 < data.stat().st_size < 2.40e9
    onnx.checker.check_model(str(path))
    graph = onnx.load(path, load_external_data=False).graph
    assert sum(node.op_type == "Attention" for node in graph.node) == 40 + 2
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    size = ModelConfig.named("sapiens-1b").encoder.image_size
    start = time.perf_counter()
    logits, embedding = session.run(None, {"image": np.zeros((1, 3, *size), np.float32)})
    print(f"one image in ONNX Runtime {time.perf_counter() - start:.0f} s")
    assert logits.shape == (1, 7)
    assert embedding.shape == (1, 1536)
    assert np.isfinite(logits).all()
