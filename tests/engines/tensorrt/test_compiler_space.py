"""A compiler's word on what users ask for: head sizes, forms and batch profiles, each once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from motivnet.config import NAMED_SIZES, ModelConfig
from motivnet.model import build_model
from motivnet.parity import COMPUTE_DTYPES

DECODER_HEAD = 144


def published_heads() -> list[int]:
    """The widths of one head of the published encoders; the decoder's are all alike."""
    configs = [ModelConfig.named(size) for size in NAMED_SIZES if size != "tiny"]
    decoders = {config.decoder.embed_dim // config.decoder.num_heads for config in configs}
    assert decoders == {DECODER_HEAD}
    return sorted({config.encoder.embed_dim // config.encoder.num_heads for config in configs})


@pytest.mark.parametrize("head", published_heads())
def test_heads_of_every_published_width_have_a_kernel_of_their_own(
    head: int, graph_of_model: Any, built_engine: Any, tmp_path: Path
) -> None:
    tiny = ModelConfig.named("tiny")
    config = msgspec.structs.replace(
        tiny,
        encoder=msgspec.structs.replace(tiny.encoder, embed_dim=2 * head, num_heads=2, depth=1),
        decoder=msgspec.structs.replace(tiny.decoder, embed_dim=2 * DECODER_HEAD, num_heads=2),
    )
    graph = graph_of_model(build_model(config, seed=1), config)

    engine = built_engine(graph, tmp_path)

    report = engine.built.report
    assert (report.attention_layers, report.attention_fused) == (3, 3)
    assert report.matrix_layers.keys() == {"float16"}
    assert engine.announced == ()


@pytest.mark.parametrize(
    ("name", "opset", "fused"), [("bf16", 23, 6), ("bf16-decomposed", 22, 6), ("fp32-image", 20, 0)]
)
def test_forms_that_no_other_test_compiles(
    name: str, opset: int, fused: int, trt_graph: Any, rtx_engine: Any
) -> None:
    manifest, engine = trt_graph(name).manifest, rtx_engine(name)

    assert manifest.graph.opset == opset
    assert engine.built.report.matrix_layers.keys() == {COMPUTE_DTYPES[manifest.precision]}
    assert engine.built.report.attention_fused == fused
    assert engine.announced == ()


def test_an_engine_can_be_tuned_for_the_batch_that_it_serves(
    trt_graph: Any, built_engine: Any, tmp_path: Path
) -> None:
    built = built_engine(trt_graph("fp16"), tmp_path, opt_batch=4, max_batch=4).built

    assert (built.profile.opt_batch, built.profile.max_batch) == (4, 4)
    assert built.report.attention_fused == 6
