"""The parsed network, with the real parser: profiles and names that TensorRT does not check."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest

from motivnet.artifact.onnx_graph import with_attribute
from motivnet.errors import EngineError
from motivnet_engines.build.network import add_profile, check_network, parse_network
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.runtimes.signature import profile_shapes
from motivnet_engines.runtimes.tensorrt.api import Api, load_api
from motivnet_engines.runtimes.tensorrt.log import logger_of


@pytest.fixture
def api(rtx_installed: None) -> Api:
    return load_api("tensorrt-rtx")


@pytest.fixture
def builder(api: Api) -> Any:
    return api.trt.Builder(logger_of(api))


SHAPES = [(1, 3, 128, 96), (1, 3, 128, 96), (8, 3, 128, 96)]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(4, 3, 128, 96), (1, 3, 128, 96), (8, 3, 128, 96)], "TensorRT refuses the profile"),
        ([(1, 3, 64, 96), (1, 3, 64, 96), (8, 3, 64, 96)], "gives 'image' the shape"),
        ([(1, 3), (1, 3), (8, 3)], "gives 'image' the shape"),
    ],
    ids=["not ordered", "another size", "another rank"],
)
def test_a_profile_that_does_not_fit_the_network_is_refused(
    api: Api, builder: Any, trt_graph: Any, shapes: Any, message: str
) -> None:
    network, _parser = parse_network(api, builder, trt_graph("fp16").onnx, attention="fused")

    with pytest.raises(EngineError, match=message):
        add_profile(builder, builder.create_builder_config(), network, shapes)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("fp16", SHAPES),
        ("uint8", [(1, 128, 96, 3), (1, 128, 96, 3), (8, 128, 96, 3)]),
        ("image", [(1, 16, 16, 3), (1, 128, 96, 3), (8, 2160, 3840, 3)]),
    ],
)
def test_the_profile_has_the_free_dimensions_of_the_input(
    api: Api, builder: Any, trt_graph: Any, name: str, shapes: Any
) -> None:
    graph = trt_graph(name)
    profile = profile_shapes(
        graph.manifest.input, EngineOptions(backend="tensorrt-rtx").profile_for(graph.manifest)
    )

    assert profile == shapes
    network, _parser = parse_network(api, builder, graph.onnx, attention="fused")
    check_network(network, graph.manifest)
    config = builder.create_builder_config()
    add_profile(builder, config, network, profile)
    assert config.num_optimization_profiles == 1


@pytest.mark.parametrize("other", ["uint8", "image"])
def test_a_network_with_another_input_than_promised_is_refused(
    api: Api, builder: Any, trt_graph: Any, other: str
) -> None:
    network, _parser = parse_network(api, builder, trt_graph("fp16").onnx, attention="fused")

    with pytest.raises(EngineError, match="the graph's inputs do not fit the manifest: 'image'"):
        check_network(network, trt_graph(other).manifest)


def test_a_network_with_another_number_of_classes_is_refused(
    api: Api, builder: Any, trt_graph: Any
) -> None:
    graph = trt_graph("fp16")
    config = graph.manifest.source.config
    more = msgspec.structs.replace(
        config, decoder=msgspec.structs.replace(config.decoder, num_classes=8)
    )
    manifest = msgspec.structs.replace(
        graph.manifest,
        labels=tuple("abcdefgh"),
        source=msgspec.structs.replace(graph.manifest.source, config=more),
    )
    network, _parser = parse_network(api, builder, graph.onnx, attention="fused")

    with pytest.raises(EngineError, match="the graph's outputs do not fit the manifest: 'logits'"):
        check_network(network, manifest)


def test_attentions_that_no_kernel_takes_become_products_instead_of_an_error(
    trt_graph: Any, built_engine: Any, tmp_path: Path
) -> None:
    """TensorRT-RTX has no fused attention in FP32; the same graph fails without the attribute."""
    graph = trt_graph("fp32-fused")
    before = graph.onnx.read_bytes()
    manifest = msgspec.structs.replace(graph.manifest, precision="fp16")  # as it is refused before

    report = built_engine(dataclasses.replace(graph, manifest=manifest), tmp_path).built.report

    assert (report.attention_layers, report.attention_fused) == (6, 0)
    assert report.matrix_layers == {"float32": 38}
    assert graph.onnx.read_bytes() == before


def test_only_attentions_get_the_attribute_and_the_rest_stays_as_it_is(trt_graph: Any) -> None:
    data = trt_graph("fp16").onnx.read_bytes()
    expected = onnx.load_from_string(data)
    for node in expected.graph.node:
        if node.op_type == "Attention":
            node.attribute.append(onnx.helper.make_attribute("TRT_decomposable", 1))

    changed = with_attribute(
        memoryview(data), operator="Attention", name="TRT_decomposable", value=1
    )

    assert onnx.load_from_string(changed) == expected
    assert changed != data
