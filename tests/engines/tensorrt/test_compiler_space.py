"""A compiler's word on what users ask for, each once: TensorRT-RTX builds it, and nothing runs.

INT8 and FP8 are in ``tests/export/quantise``, where ModelOpt is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from motivnet.config import NAMED_SIZES, ModelConfig
from motivnet.model import build_model
from motivnet.parity import COMPUTE_DTYPES

MAGIC = b"vtrt"
DECODER_HEAD = 144
FORMS = [
    f"{precision}{attention}{input_form}"
    for precision in ("fp16", "bf16", "fp32")
    for attention in ("", "-decomposed")
    for input_form in ("", "-uint8", "-image")
    if (precision, attention) != ("fp32", "-decomposed")  # FP32 has no other form
]
NAMES = {"fp16-uint8": "uint8", "fp16-image": "image"}


@pytest.mark.parametrize("form", [*FORMS, "bf16-decomposed-image-square"])
def test_every_precision_form_of_attention_and_input(
    form: str, trt_graph: Any, rtx_engine: Any
) -> None:
    name = NAMES.get(form, form)
    manifest, engine = trt_graph(name).manifest, rtx_engine(name)

    assert engine.path.read_bytes()[:4] == MAGIC
    assert engine.built.report.evidence == "compiler"
    assert engine.built.report.activation_bytes is not None
    fused = manifest.attention == "fused"
    assert manifest.graph.opset == (23 if fused else 22 if manifest.precision == "bf16" else 20)
    assert engine.built.report.matrix_layers.keys() == {COMPUTE_DTYPES[manifest.precision]}
    assert engine.built.report.attention_layers == 6
    # The compiler finds a decomposed attention in half precision, and fuses none in FP32.
    assert engine.built.report.attention_fused == (0 if manifest.precision == "fp32" else 6)
    assert engine.announced == ()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fp16", {"max_batch": 1}),
        ("fp16", {"opt_batch": 4, "max_batch": 4}),
        ("fp16", {"opt_batch": 8, "max_batch": 8}),
        ("image", {"opt_batch": 8, "max_size": (128, 96)}),
        pytest.param("bf16-decomposed-image", {"max_size": (4096, 4096)}, marks=pytest.mark.slow),
        pytest.param("image", {"max_size": None}, marks=pytest.mark.slow),
        pytest.param("fp32-image", {"max_batch": 1, "max_size": None}, marks=pytest.mark.slow),
    ],
)
def test_profiles_of_batches_and_of_image_sizes(
    name: str, options: dict[str, Any], trt_graph: Any, built_engine: Any, tmp_path: Path
) -> None:
    engine = built_engine(trt_graph(name), tmp_path, **options)

    profile, largest = engine.built.profile, (2160, 3840) if "image" in name else (128, 96)
    assert profile.opt_batch == options.get("opt_batch", 1)
    assert profile.max_batch == options.get("max_batch", 8)
    assert profile.max_size == (options.get("max_size") or largest)
    assert engine.built.report.attention_layers == 6
    assert engine.announced == ()


@pytest.mark.parametrize(
    "size", [(16, 16), pytest.param((224, 224), marks=pytest.mark.slow), (256, 192)]
)
def test_images_of_other_sizes_than_the_published(
    size: tuple[int, int], two_blocks: Any, graph_of_model: Any, built_engine: Any, tmp_path: Path
) -> None:
    config = two_blocks("tiny", size)
    engine = built_engine(graph_of_model(build_model(config, seed=1), config), tmp_path)

    assert engine.built.profile.opt_size == size
    assert engine.built.report.attention_layers == 3
    assert engine.announced == ()


def published_heads() -> list[int]:
    """The widths of one head of the published encoders; the decoder's are all alike."""
    published = [size for size in NAMED_SIZES if size.startswith("sapiens")]
    configs = [ModelConfig.named(size) for size in published]
    decoders = {config.decoder.embed_dim // config.decoder.num_heads for config in configs}
    assert decoders == {DECODER_HEAD}
    return sorted({config.encoder.embed_dim // config.encoder.num_heads for config in configs})


@pytest.mark.parametrize("head", published_heads())
def test_heads_of_every_published_width_have_a_kernel_of_their_own(
    head: int, two_blocks: Any, graph_of_model: Any, built_engine: Any, tmp_path: Path
) -> None:
    tiny, replace = two_blocks("tiny"), msgspec.structs.replace
    config = replace(
        tiny,
        encoder=replace(tiny.encoder, embed_dim=2 * head, num_heads=2),
        decoder=replace(tiny.decoder, embed_dim=2 * DECODER_HEAD, num_heads=2),
    )
    engine = built_engine(graph_of_model(build_model(config, seed=1), config), tmp_path)

    assert_every_attention_is_one_kernel(engine)


@pytest.mark.slow
@pytest.mark.parametrize("image_size", [(128, 96), (1024, 768)], ids=["small", "published"])
@pytest.mark.parametrize("name", [name for name in NAMED_SIZES if name != "tiny"])
def test_every_named_size_at_two_blocks(
    name: str,
    image_size: tuple[int, int],
    two_blocks: Any,
    graph_of_model: Any,
    built_engine: Any,
    tmp_path: Path,
) -> None:
    config = two_blocks(name, image_size)
    engine = built_engine(graph_of_model(build_model(config, seed=1), config), tmp_path)

    assert_every_attention_is_one_kernel(engine)


def assert_every_attention_is_one_kernel(engine: Any) -> None:
    report = engine.built.report
    assert (report.attention_layers, report.attention_fused) == (3, 3)
    assert report.matrix_layers.keys() == {"float16"}
    assert engine.announced == ()
