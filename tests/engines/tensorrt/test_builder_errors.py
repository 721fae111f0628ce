"""Whatever is wrong with a graph is one typed error, with TensorRT-RTX's own messages."""

from __future__ import annotations

import dataclasses
import resource
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from onnx import TensorProto, helper

from motivnet.errors import (
    ConfigError,
    EngineError,
    FileError,
    MissingDependencyError,
    RuntimeUnavailableError,
)
from motivnet_engines.build import backend, builder
from motivnet_engines.build.network import check_network, parse_network
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.runtimes.tensorrt.api import load_api
from motivnet_engines.runtimes.tensorrt.log import logger_of

Damage = Callable[[Path, Path], None]


@pytest.fixture
def refused(rtx_installed: None, trt_graph: Any, tmp_path: Path) -> Callable[..., EngineError]:
    """A function that damages the FP16 graph, has the real parser read it, and gives the error."""
    api = load_api("tensorrt-rtx")

    def error_of(damage: Damage) -> EngineError:
        graph = trt_graph("fp16")
        damage(graph.onnx, tmp_path / "model.onnx")
        builder = api.trt.Builder(logger_of(api))
        with pytest.raises(EngineError) as caught:
            check_network(
                parse_network(api, builder, tmp_path / "model.onnx", attention="fused")[0],
                graph.manifest,
            )
        return caught.value

    return error_of


def graph_of(*nodes: onnx.NodeProto, shape: list[Any]) -> bytes:
    """A graph from the tiny model's input to ``logits``."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 128, 96])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def empty(_source: Path, target: Path) -> None:
    target.write_bytes(b"")


def png(_source: Path, target: Path) -> None:
    target.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))


def truncated(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes()[: source.stat().st_size // 2])


def custom_operator(source: Path, target: Path) -> None:
    model = onnx.load(source)
    node = next(node for node in model.graph.node if node.op_type == "Attention")
    node.name, node.op_type, node.domain = "the odd one", "Frobnicate", "my.operators"
    model.opset_import.append(helper.make_opsetid("my.operators", 1))
    onnx.save(model, target)


def unsupported_operator(_source: Path, target: Path) -> None:
    flat = helper.make_node("Flatten", ["image"], ["flat"])
    target.write_bytes(
        graph_of(
            flat, helper.make_node("Unique", ["flat"], ["logits"], name="distinct"), shape=["n"]
        )
    )


def names_that_are_no_unicode(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes().replace(b"Attention", b"Att\xff\xfetion"))


def without_its_weights(source: Path, target: Path) -> None:
    onnx.save(
        onnx.load(source),
        target,
        save_as_external_data=True,
        location="weights.data",
        size_threshold=0,
    )
    (target.parent / "weights.data").unlink()


def another_graph(_source: Path, target: Path) -> None:
    identity = helper.make_node("Identity", ["image"], ["logits"])
    target.write_bytes(graph_of(identity, shape=["batch", 3, 128, 96]))


def mixed_types(_source: Path, target: Path) -> None:
    half = helper.make_node("Cast", ["image"], ["half"], to=TensorProto.FLOAT16)
    target.write_bytes(
        graph_of(
            half, helper.make_node("Add", ["image", "half"], ["logits"]), shape=["b", 3, 128, 96]
        )
    )


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (truncated, "Failed to parse the ONNX model. (MODEL_DESERIALIZE_FAILED)"),
        (custom_operator, "Frobnicate node 'the odd one': "),
        (unsupported_operator, "Unique node 'distinct': "),
        (without_its_weights, "Failed to import initializer"),
        (mixed_types, "must have"),
        (
            names_that_are_no_unicode,
            "Att\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}tion node",
        ),
    ],
)
def test_what_the_parser_refuses_is_one_error_with_its_words(
    refused: Any, damage: Damage, problem: str
) -> None:
    error = refused(damage)

    assert str(error).startswith("model.onnx was refused by TensorRT's parser: ")
    assert "\n" not in str(error)
    assert any(problem in words for words in error.problems)
    assert not any("cuda" in line.lower() for line in error.log)


def test_the_log_names_the_file_of_weights_that_is_missing(refused: Any) -> None:
    assert any("weights.data" in line for line in refused(without_its_weights).log)


@pytest.mark.parametrize("damage", [empty, png])
def test_a_file_that_is_no_graph_is_refused_although_it_parses(
    refused: Any, damage: Damage
) -> None:
    assert "no ONNX graph, or an empty one" in str(refused(damage))


def test_another_graph_than_the_manifest_promises_is_refused(refused: Any) -> None:
    message = str(refused(another_graph))

    assert "as TensorRT parsed it, the graph's outputs do not fit the manifest: 'logits'" in message


def test_the_error_of_the_builder_arrives_with_all_that_it_says(
    built_engine: Any, trt_graph: Any, tmp_path: Path
) -> None:
    graph, out = trt_graph("fp16"), tmp_path / "out"
    out.mkdir()
    custom_operator(graph.onnx, tmp_path / "model.onnx")

    with pytest.raises(EngineError, match="refused by TensorRT's parser: ") as caught:
        built_engine(dataclasses.replace(graph, onnx=tmp_path / "model.onnx"), out)

    assert any("Frobnicate node 'the odd one': " in words for words in caught.value.problems)
    assert not any("cuda" in line.lower() for line in caught.value.log)
    assert list(out.iterdir()) == []


def test_what_the_compiler_refuses_is_one_error_with_its_words(
    built_engine: Any, trt_graph: Any, tmp_path: Path
) -> None:
    graph = trt_graph("fp32-fused")
    claimed = dataclasses.replace(
        graph,
        manifest=msgspec.structs.replace(graph.manifest, precision="fp16", attention="decomposed"),
    )

    with pytest.raises(
        EngineError, match=r"tensorrt-rtx .* could not compile the graph: "
    ) as caught:
        built_engine(claimed, tmp_path)

    assert "\n" not in str(caught.value)
    assert any("not supported by a dedicated kernel" in line for line in caught.value.log)
    assert any(
        line.startswith("Internal Error: ") for line in caught.value.log
    )  # printed, not logged
    assert list(tmp_path.iterdir()) == []


def test_a_missing_graph_is_a_file_error(built_engine: Any, trt_graph: Any, tmp_path: Path) -> None:
    graph = dataclasses.replace(trt_graph("fp16"), onnx=tmp_path / "none.onnx")

    with pytest.raises(FileError, match="does not exist"):
        built_engine(graph, tmp_path)


def test_fused_fp32_is_refused_before_the_compiler_is_asked(
    trt_graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "build_in_child", None)
    graph = trt_graph("fp32-fused")

    with pytest.raises(ConfigError, match="no fused attention in FP32"):
        builder.engine_from_onnx(
            graph.onnx,
            tmp_path / "model.engine",
            manifest=graph.manifest,
            options=EngineOptions(backend="tensorrt-rtx", compute_capabilities=("86",)),
            on_message=print,
        )

    assert list(tmp_path.iterdir()) == []


def test_a_build_without_a_gpu_names_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "cuda_device_count", lambda: 0)

    with pytest.raises(RuntimeUnavailableError) as caught:
        backend.check_backend("tensorrt")

    assert "motivnet build-engine" in str(caught.value)
    assert "--target tensorrt-rtx" in str(caught.value)


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="needs a machine without tensorrt")
def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, built_engine: Any, trt_graph: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr(backend, "cuda_device_count", lambda: 1)

    for call in (
        lambda: backend.check_backend("tensorrt"),
        lambda: built_engine(
            trt_graph("fp16"), tmp_path, backend="tensorrt", compute_capabilities=()
        ),
    ):
        with pytest.raises(MissingDependencyError, match=r"pip install 'motivnet\[trt\]'"):
            call()


def test_a_full_disk_is_a_file_error_and_leaves_nothing(
    built_engine: Any, trt_graph: Any, tmp_path: Path
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    graph = trt_graph("fp16")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(FileError, match=r"engine of .* bytes was not written: File too large"):
            built_engine(graph, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert list(tmp_path.iterdir()) == []
