"""Engines by the real TensorRT-RTX compiler; compiled here, never executed."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from motivnet.artifact.engine_entry import ShapeProfile
from motivnet.config import ModelConfig
from motivnet.errors import EngineError
from motivnet_engines.build.builder import engine_from_onnx
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.runtimes.fake import fake_manifest

MAGIC = b"vtrt"
BALLAST = 1 << 30


@pytest.mark.parametrize("name", ["fp16", "fp32"])
def test_one_engine_serves_two_compute_capabilities(rtx_engine: Any, name: str) -> None:
    both = rtx_engine(name, ("86", "89")).built.report

    assert both.attention_layers == 6
    assert both.attention_fused == (0 if name == "fp32" else 6)
    assert both.matrix_layers == rtx_engine(name).built.report.matrix_layers


def test_a_build_says_what_it_cost_and_where_it_was(rtx_engine: Any) -> None:
    import tensorrt_rtx

    built = rtx_engine("fp16").built

    assert built.version == tensorrt_rtx.__version__
    assert built.platform.startswith("linux-")
    assert built.device is None
    assert built.profile == ShapeProfile(
        min_batch=1,
        opt_batch=1,
        max_batch=8,
        min_size=(128, 96),
        opt_size=(128, 96),
        max_size=(128, 96),
    )
    assert built.build_seconds > 0
    assert 50_000_000 < built.build_peak_bytes < 4_000_000_000


def test_the_profile_of_any_size_reaches_from_the_smallest_to_the_largest_image(
    rtx_engine: Any,
) -> None:
    profile = rtx_engine("image").built.profile

    assert (profile.min_size, profile.opt_size, profile.max_size) == (
        (16, 16),
        (128, 96),
        (480, 640),
    )


@pytest.mark.parametrize(
    "options",
    [
        {"optimisation_level": 0, "weight_streaming": True, "max_batch": 2, "opt_batch": 2},
        {"optimisation_level": 5, "compute_capabilities": ()},
    ],
    ids=["named", "portable"],
)
def test_the_options_of_tensorrt_rtx_are_taken(
    built_engine: Any, trt_graph: Any, tmp_path: Path, options: dict[str, Any]
) -> None:
    engine = built_engine(trt_graph("fp16"), tmp_path, **options)

    assert engine.path.read_bytes()[:4] == MAGIC
    assert engine.built.report.attention_fused == 6
    assert engine.announced == ()


@pytest.fixture(scope="module")
def second_engine(
    built_engine: Any, trt_graph: Any, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """Built after a failed build, in a folder whose name is not Unicode, by a large process."""
    path = tmp_path_factory.mktemp("second")
    folder = Path(os.fsdecode(os.fsencode(path) + b"/gr\xe4ph"))
    folder.mkdir()
    refused = trt_graph("fp32-fused")  # with a manifest that leaves the refusal to the compiler
    manifest = msgspec.structs.replace(refused.manifest, precision="fp16", attention="decomposed")
    with pytest.raises(EngineError):
        built_engine(dataclasses.replace(refused, manifest=manifest), path)
    shutil.copy(trt_graph("fp16").onnx, folder)
    graph = dataclasses.replace(trt_graph("fp16"), onnx=folder / "model.onnx")

    ballast = bytearray(BALLAST)
    ballast[:: 1 << 12] = b"x" * len(ballast[:: 1 << 12])
    return built_engine(graph, folder)


def test_neither_a_failed_build_nor_the_name_of_the_folder_changes_an_engine(
    rtx_engine: Any, second_engine: Any
) -> None:
    """Its bytes may differ in the order in which two symbols are numbered."""
    assert second_engine.built.report == rtx_engine("fp16").built.report
    assert second_engine.path.stat().st_size == rtx_engine("fp16").path.stat().st_size


def test_the_peak_is_that_of_the_build_and_not_of_the_process_that_asked(
    second_engine: Any,
) -> None:
    assert second_engine.built.build_peak_bytes < BALLAST


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
    manifest = msgspec.structs.replace(
        fake_manifest(ModelConfig.named("sapiens-1b"), max_batch=1),
        precision="fp16",
        attention="fused",
    )
    engine = tmp_path / "model.engine"
    options = EngineOptions(backend="tensorrt-rtx", compute_capabilities=("86",))
    built = engine_from_onnx(onnx, engine, manifest=manifest, options=options, on_message=print)
    report = built.report
    assert report.activation_bytes is not None
    print(
        f"\nbuilt in {built.build_seconds:.0f} s, peak {built.build_peak_bytes / 1e9:.1f} GB, "
        f"engine {engine.stat().st_size / 1e9:.2f} GB, "
        f"activations {report.activation_bytes / 1e6:.0f} MB, "
        f"{report.attention_fused} of {report.attention_layers} attentions fused, "
        f"{report.matrix_layers}"
    )
    assert report.activation_bytes < 120e6
    assert report.attention_fused == report.attention_layers == 40 + 2
    assert set(report.matrix_layers) == {"float16"}
    assert built.build_peak_bytes < 12e9
