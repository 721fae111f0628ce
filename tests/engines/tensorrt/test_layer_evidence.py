"""What kernels of many versions and GPUs prove, what refuses an engine, and what is announced."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from motivnet.artifact.engine_entry import EngineReport
from motivnet.errors import EngineError
from motivnet_engines.build.engine_report import check_report, report_from_layers
from motivnet_engines.build.layer_evidence import (
    NetworkNodes,
    check_products,
    count_attentions,
    find_doubts,
    nodes_from_network,
)
from motivnet_engines.build.layers import layers_from_inspector

sys.path.append(str(Path(__file__).parent))  # for the module beside this one
from inspected import FLOAT, HALF, INSPECTED, Inspected, entry

NODES = NetworkNodes(
    products=dict.fromkeys(("qkv", "proj", "fc1", "fc2"), "float16"),
    attentions=frozenset({"attention"}),
)
NETWORK = EngineReport(
    evidence="network",
    layers=9,
    matrix_layers={"float16": 5},
    attention_layers=1,
    attention_fused=None,
    activation_bytes=None,
)


@pytest.mark.parametrize("found", INSPECTED, ids=lambda found: found.name)
def test_layers_of_every_known_log_are_read(found: Inspected) -> None:
    layers = layers_from_inspector(found.text)

    report = report_from_layers(
        layers,
        network=NETWORK,
        attentions=NODES.attentions,
        evidence="inspector",
        activation_bytes=None,
    )

    assert report.matrix_layers == found.dtypes
    if any("attention" in layer.origins for layer in layers):
        assert report.attention_fused == found.fused
        assert find_doubts(layers, NODES) == found.doubts
    check_products(layers, NODES, precision="fp16")
    check_report(report, precision="fp16", attention="decomposed")
    if found.fused != 0:
        check_report(report, precision="fp16", attention="fused")


def layers_of(*entries: dict[str, Any]) -> Any:
    return layers_from_inspector(Inspected(name="", source="", layers=[*entries], dtypes={}).text)


@pytest.mark.parametrize(
    "wrong",
    [
        entry("fc", "gemm", FLOAT, nodes="fc1", Weights={"Type": "Float"}),
        entry(
            "fc", "gemm", FLOAT, nodes="fc1", Constants=[{"Dimensions": [4, 4], "Format": "FP32"}]
        ),
        entry("fc", "gemm", FLOAT, nodes="fc1 add", tactic="sm80_xmma_gemm_f32f32_tf32f32_f32"),
    ],
)
def test_a_kernel_that_states_another_dtype_than_its_node_refuses_the_engine(wrong: Any) -> None:
    layers = layers_of(wrong, *[entry("fc", "gemm", HALF, nodes="fc2")] * 30)

    with pytest.raises(EngineError, match=r"not fp16: 1 of its kernels .* such as fc \(float32\)"):
        check_products(layers, NODES, precision="fp16")


@pytest.mark.parametrize(
    "harmless",
    [
        entry("fc", "gemm", FLOAT, nodes="fc1"),
        entry("fc", "gemm", FLOAT, nodes="head", Weights={"Type": "Float"}),
        entry("fc", "gemm", FLOAT, Weights={"Type": "Float"}),
        entry("cast", "Reformat", FLOAT, nodes="fc1", Weights={"Type": "Float"}),
    ],
    ids=["only its input", "a product of the graph in FP32", "of no node", "no product"],
)
def test_nothing_else_refuses_it(harmless: Any) -> None:
    nodes = NetworkNodes(products={**NODES.products, "head": "float32"}, attentions=frozenset())
    check_products(layers_of(harmless), nodes, precision="fp16")


def test_a_projection_that_also_splits_heads_is_no_unfused_attention() -> None:
    layers = layers_of(
        entry("__myl_FcAddReshTran", "fusion", HALF, nodes="qkv attention"),
        entry("_gemm_mha_v2_1", "kgen", HALF, nodes="attention"),
    )

    count = count_attentions(layers, NODES.attentions)
    assert (count.fused, count.unfused, count.unknown) == (1, 0, ())


def test_the_nodes_of_the_real_parsers_network_are_those_of_the_graph(
    trt_graph: Any, rtx_engine: Any
) -> None:
    from motivnet_engines.build.network import parse_network
    from motivnet_engines.runtimes.tensorrt.api import load_api
    from motivnet_engines.runtimes.tensorrt.log import logger_of

    graph = trt_graph("fp16")
    api = load_api("tensorrt-rtx")
    builder = api.trt.Builder(logger_of(api))
    network, _parser = parse_network(api, builder, graph.onnx, attention="fused")

    nodes = nodes_from_network(network)

    counts = graph.manifest.graph
    assert len(nodes.attentions) == counts.attention_nodes
    assert len(nodes.products) + len(nodes.attentions) == sum(counts.compute_nodes.values())
    assert all(f"node_scaled_dot_product_attention{end}" in nodes.attentions for end in ("", "_5"))
    assert rtx_engine("fp16").announced == ()
