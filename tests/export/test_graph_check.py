"""The check before every parser fits the exports: each passes, and no operator is unused."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable

import onnx
import onnx_ir as ir
import pytest

from motivnet.artifact import Artifact
from motivnet.artifact.manifest import Manifest
from motivnet.artifact.onnx_graph import check_model
from motivnet.artifact.onnx_graph.operators import OPERATORS
from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.model import build_model
from motivnet.parity import AttentionForm, Precision
from motivnet.preprocess import Preprocessing, PreprocessingName
from motivnet_export.precision import apply_precision
from motivnet_export.request import InputForm
from motivnet_export.torch_to_onnx import onnx_from_model

Form = tuple[Precision, AttentionForm, InputForm, PreprocessingName, int]
"""Precision, attention, input, preprocessing and the head's groups."""

FORMS: tuple[Form, ...] = (
    ("fp32", "decomposed", "image", "square-white-pad", 7),
    ("fp16", "fused", "float32", "stretch", 3),
    ("bf16", "decomposed", "uint8", "stretch", 7),
)
"""All the operators and opsets, in few exports."""

EVERY_FORM = tuple(
    itertools.product(
        ("fp32", "fp16", "bf16"),
        ("decomposed", "fused"),
        ("float32", "uint8", "image"),
        ("stretch", "square-white-pad"),
        (7, 3),
    )
)
QUANTISED = {"QuantizeLinear": {"axis"}, "DequantizeLinear": {"axis"}}
"""What ModelOpt adds; its graphs are built and opened by the tests of quantisation."""


@pytest.fixture(scope="module")
def manifest(small_artifact: Callable[..., Artifact]) -> Manifest:
    return small_artifact("fp32").manifest


@functools.cache
def exported(form: Form) -> tuple[bytes, ModelConfig]:
    precision, attention, given, preprocessing, groups = form
    config = ModelConfig(
        encoder=EncoderConfig(
            embed_dim=32,
            depth=1,
            num_heads=2,
            image_size=(128, 96),
            kept_tokens=None if groups == 7 else tuple(range(3, 45)),
        ),
        decoder=DecoderConfig(
            embed_dim=32,
            num_heads=2,
            depth=1,
            mlp_dim=32,
            num_groups=groups,
            num_classes=7 if groups == 7 else 8,
        ),
    )
    model = build_model(config, seed=1)
    apply_precision(model, precision)
    graph = onnx_from_model(
        model,
        attention=attention,
        input_dtype="float32" if given == "float32" else "uint8",
        any_size=given == "image",
        preprocessing=Preprocessing.named(preprocessing, size=config.encoder.image_size),
    )
    return ir.serde.serialize_model(graph).SerializeToString(), config


def of_config(manifest: Manifest, config: ModelConfig) -> Manifest:
    """The manifest as JSON with another configuration, read again."""
    document = json.loads(manifest.to_json())
    document["source"]["config"] = config.to_dict()
    document["labels"] = [f"class {index}" for index in range(config.decoder.num_classes)]
    return Manifest.from_json(json.dumps(document).encode())


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form)))
def test_an_export_passes(form: Form, manifest: Manifest) -> None:
    data, config = exported(form)
    check_model(data, of_config(manifest, config), data_bytes=None)


@pytest.mark.slow
@pytest.mark.parametrize("form", EVERY_FORM, ids=lambda form: "-".join(map(str, form)))
def test_every_export_passes(form: Form, manifest: Manifest) -> None:
    data, config = exported(form)
    check_model(data, of_config(manifest, config), data_bytes=None)


def test_no_operator_and_no_attribute_is_allowed_that_no_export_has() -> None:
    """And none is missing: an operator that a new export has would be refused."""
    found: dict[str, set[str]] = {name: set(attributes) for name, attributes in QUANTISED.items()}
    for form in FORMS:
        data, _ = exported(form)
        for node in onnx.load_from_string(data).graph.node:
            found.setdefault(node.op_type, set()).update(
                attribute.name for attribute in node.attribute
            )
    assert found == {name: set(attributes) for name, (_, attributes) in OPERATORS.items()}
