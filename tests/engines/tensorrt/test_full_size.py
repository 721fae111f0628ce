"""The published size, with random weights, through NVIDIA's real compiler. Minutes and gigabytes."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from motivnet.config import ModelConfig
from motivnet_engines.build.builder import engine_from_onnx
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.runtimes.fake import fake_manifest

pytest.importorskip("tensorrt_rtx")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_sapiens_1b_compiles_from_external_data_with_every_attention_fused(tmp_path: Path) -> None:
    onnx = tmp_path / "model.onnx"
    program = (
        "import sys; from motivnet_export.cli import main; sys.argv[0] = 'motivnet-export'; main()"
    )
    arguments = ["onnx", "--model", "sapiens-1b", "--fp16", "--out", str(onnx)]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True)
    assert onnx.with_name("model.onnx.data").stat().st_size > 2**31
    manifest = dataclasses.replace(
        fake_manifest(ModelConfig.named("sapiens-1b"), max_batch=1),
        precision="fp16",
        attention="fused",
    )
    engine = tmp_path / "model.engine"
    options = EngineOptions(backend="tensorrt-rtx", compute_capabilities=("86",))
    built = engine_from_onnx(onnx, engine, manifest=manifest, options=options, announce=print)
    proof = built.proof
    assert proof.activation_bytes is not None
    print(
        f"\nbuilt in {built.seconds:.0f} s, peak {built.peak_bytes / 1e9:.1f} GB, "
        f"engine {engine.stat().st_size / 1e9:.2f} GB, activations {proof.activation_bytes / 1e6:.0f} MB, "
        f"{proof.attention_fused} of {proof.attention_layers} attentions fused, {proof.matrix_layers}"
    )
    assert proof.activation_bytes < 120e6
    assert proof.attention_fused == proof.attention_layers == 40 + 2
    assert set(proof.matrix_layers) == {"float16"}
    assert built.peak_bytes < 12e9
