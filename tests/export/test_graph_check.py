"""What is checked before every parser fits what is exported: every form passes, and no operator is allowed unused."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from pathlib import Path

import onnx
import pytest

from motivnet.artifact import open_artifact
from motivnet.artifact.manifest import AttentionForm, Manifest, Precision
from motivnet.artifact.onnx_graph import check_model
from motivnet.artifact.onnx_graph.operators import OPERATORS
from motivnet.config import ModelConfig
from motivnet.model import build_model
from motivnet.preprocess import InputRecipe, RecipeName
from motivnet_export.precision import apply_precision
from motivnet_export.request import InputForm
from motivnet_export.torch_to_onnx import onnx_from_model, save_onnx

Form = tuple[Precision, AttentionForm, InputForm, RecipeName, int]
"""Precision, attention, input, recipe and the head's groups."""

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
def manifest(fp32_artifact: Path) -> Manifest:
    return open_artifact(fp32_artifact).manifest


@functools.cache
def exported(form: Form, folder: Path) -> tuple[bytes, ModelConfig]:
    precision, attention, given, recipe, groups = form
    tiny = ModelConfig.named("tiny")
    classes = 7 if groups == 7 else 8
    config = dataclasses.replace(
        tiny, decoder=dataclasses.replace(tiny.decoder, num_groups=groups, num_classes=classes)
    )
    model = build_model(config, seed=1)
    apply_precision(model, precision)
    graph = onnx_from_model(
        model,
        attention=attention,
        input_dtype="float32" if given == "float32" else "uint8",
        any_size=given == "image",
        recipe=InputRecipe.named(recipe, size=config.encoder.image_size),
    )
    path = folder / f"{'-'.join(map(str, form))}.onnx"
    save_onnx(graph, path)
    return path.read_bytes(), config


def of_config(manifest: Manifest, config: ModelConfig) -> Manifest:
    labels = tuple(f"class {index}" for index in range(config.decoder.num_classes))
    source = dataclasses.replace(manifest.source, config=config)
    return dataclasses.replace(manifest, source=source, labels=labels)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form)))
def test_an_export_passes(
    form: Form, manifest: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data, config = exported(form, tmp_path_factory.getbasetemp())
    check_model(data, of_config(manifest, config), data_bytes=None)


@pytest.mark.slow
@pytest.mark.parametrize("form", EVERY_FORM, ids=lambda form: "-".join(map(str, form)))
def test_every_export_passes(
    form: Form, manifest: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data, config = exported(form, tmp_path_factory.getbasetemp())
    check_model(data, of_config(manifest, config), data_bytes=None)


def test_no_operator_and_no_attribute_is_allowed_that_no_export_has(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """And none that an export has is missing: a new one fails here, and the build that makes it."""
    found: dict[str, set[str]] = {name: set(attributes) for name, attributes in QUANTISED.items()}
    for form in FORMS:
        data, _ = exported(form, tmp_path_factory.getbasetemp())
        for node in onnx.load_from_string(data).graph.node:
            found.setdefault(node.op_type, set()).update(
                attribute.name for attribute in node.attribute
            )
    assert found == {name: set(attributes) for name, (_, attributes) in OPERATORS.items()}
