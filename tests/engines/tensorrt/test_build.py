"""Engines by the real TensorRT-RTX compiler; compiled here, never executed."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from motivnet.artifact.manifest import ShapeProfile
from motivnet.errors import EngineError

MAGIC = b"vtrt"


def assert_alike(engine: Any, other: Any) -> None:
    """The same layers and the same size: bytes may differ by the order in which two symbols are numbered."""
    assert engine.built.proof == other.built.proof
    assert engine.path.stat().st_size == other.path.stat().st_size


def claiming_fp16(graph: Any) -> Any:
    """The graph with a manifest that passes the check of the options, so that the compiler itself is asked."""
    return dataclasses.replace(
        graph, manifest=dataclasses.replace(graph.manifest, precision="fp16")
    )


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("fp16", "float16"),
        ("fp16-decomposed", "float16"),
        ("bf16", "bfloat16"),
        ("fp32", "float32"),
        ("uint8", "float16"),
        ("image", "float16"),
    ],
)
def test_an_engine_is_built_in_the_precision_of_its_graph(
    rtx_engine: Any, name: str, dtype: str
) -> None:
    engine = rtx_engine(name)

    assert engine.path.read_bytes()[:4] == MAGIC
    assert engine.built.proof.evidence == "compiler"
    assert set(engine.built.proof.matrix_layers) == {dtype}
    assert engine.announced == ()


@pytest.mark.parametrize("name", ["fp16", "bf16", "uint8", "image"])
def test_every_attention_of_a_fused_graph_is_one_kernel(rtx_engine: Any, name: str) -> None:
    proof = rtx_engine(name).built.proof

    assert proof.attention_fused == proof.attention_layers == 6
    assert proof.activation_bytes is not None


@pytest.mark.parametrize("name", ["fp16", "fp16-decomposed", "bf16", "fp32", "uint8"])
def test_one_engine_serves_two_compute_capabilities(rtx_engine: Any, name: str) -> None:
    both = rtx_engine(name, ("86", "89")).built.proof

    assert both.attention_layers == 6
    assert both.attention_fused == (0 if name == "fp32" else 6)
    assert both.matrix_layers == rtx_engine(name).built.proof.matrix_layers


@pytest.mark.parametrize("name", ["fp16", "fp16-decomposed", "bf16", "fp32", "uint8"])
def test_two_builds_in_different_processes_give_the_same_bytes(
    fixed_addresses: None,
    rtx_engine: Any,
    built_engine: Any,
    trt_graph: Any,
    tmp_path: Path,
    name: str,
) -> None:
    """40 of 40 were seen to; a third build decides should one differ, for the compiler promises nothing."""
    builds = [rtx_engine(name).path.read_bytes()]

    for folder in ("another folder", "a third folder"):
        if len(set(builds)) == len(builds):
            builds.append(built_engine(trt_graph(name), tmp_path / folder).path.read_bytes())

    assert len(set(builds)) < len(builds)


def test_what_the_caller_has_in_memory_does_not_change_the_engine(
    fixed_addresses: None,
    monkeypatch: pytest.MonkeyPatch,
    rtx_engine: Any,
    built_engine: Any,
    trt_graph: Any,
    tmp_path: Path,
) -> None:
    """All but one at most: see above."""
    builds = [rtx_engine("fp16").path.read_bytes()]

    for length in (1, 300, 4_000):
        monkeypatch.setenv("SOMETHING", "x" * length)
        builds.append(built_engine(trt_graph("fp16"), tmp_path).path.read_bytes())

    assert max(builds.count(build) for build in builds) >= 3


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
    assert 0 < built.seconds < 300
    assert 50_000_000 < built.peak_bytes < 4_000_000_000


def test_the_profile_of_any_size_reaches_from_the_smallest_to_the_largest_image(
    rtx_engine: Any,
) -> None:
    profile = rtx_engine("image").built.profile

    assert (profile.min_size, profile.opt_size, profile.max_size) == (
        (16, 16),
        (128, 96),
        (480, 640),
    )


def test_the_peak_is_that_of_the_build_and_not_of_the_process_that_asked(
    built_engine: Any, trt_graph: Any, tmp_path: Path
) -> None:
    ballast = bytearray(1 << 30)
    ballast[:: 1 << 12] = b"x" * len(ballast[:: 1 << 12])

    built = built_engine(trt_graph("fp16"), tmp_path).built

    assert built.peak_bytes < len(ballast)


@pytest.mark.parametrize(
    "options",
    [
        {"optimisation_level": 0},
        {"optimisation_level": 5},
        {"weight_streaming": True},
        {"max_batch": 2, "opt_batch": 2},
        {"compute_capabilities": ()},
    ],
    ids=lambda options: next(iter(options)),
)
def test_the_options_of_tensorrt_rtx_are_taken(
    built_engine: Any, trt_graph: Any, tmp_path: Path, options: dict[str, Any]
) -> None:
    engine = built_engine(trt_graph("fp16"), tmp_path, **options)

    assert engine.path.read_bytes()[:4] == MAGIC
    assert engine.built.proof.attention_fused == 6
    assert engine.announced == ()


def test_a_failed_build_does_not_change_the_next(
    rtx_engine: Any, built_engine: Any, trt_graph: Any, tmp_path: Path
) -> None:
    with pytest.raises(EngineError):
        built_engine(claiming_fp16(trt_graph("fp32-fused")), tmp_path)

    engine = built_engine(trt_graph("fp16"), tmp_path)

    assert_alike(engine, rtx_engine("fp16"))


def test_a_folder_whose_name_is_no_unicode_is_no_obstacle(
    built_engine: Any, rtx_engine: Any, trt_graph: Any, tmp_path: Path
) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/gr\xe4ph"))
    folder.mkdir()
    shutil.copy(trt_graph("fp16").onnx, folder)

    engine = built_engine(
        dataclasses.replace(trt_graph("fp16"), onnx=folder / "model.onnx"), folder
    )

    assert_alike(engine, rtx_engine("fp16"))
