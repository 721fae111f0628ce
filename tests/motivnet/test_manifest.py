"""The manifest: what it accepts and refuses; damaged text ends in one kind of error."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from motivnet import schema
from motivnet.artifact import engine_entry, fidelity, quantisation
from motivnet.artifact import manifest as manifests
from motivnet.artifact.manifest import FileEntry, GraphSummary, InputEntry, Manifest, Source
from motivnet.config import ModelConfig
from motivnet.errors import ArtifactError
from motivnet.labels import labels_for
from motivnet.parity import Attempt, BlockActivation, Comparison, ParityReport
from motivnet.preprocess import Preprocessing
from motivnet.schema import Schema

DIGEST = "0123456789abcdef" * 4
Document = dict[str, Any]


def comparison(**changes: Any) -> Comparison:
    values: Document = {
        "backend": "onnxruntime",
        "compute": "float32",
        "evidence": "graph",
        "images": 8,
        "logit_cosine": 0.999,
        "logit_max_abs": 1e-5,
        "probability_max_abs": 1e-6,
        "top1_agreement": 1.0,
        "embedding_cosine": 1.0,
        "seconds_per_image": 0.01,
        "failures": (),
    }
    return Comparison(**values | changes)


def valid(**changes: Any) -> Manifest:
    config = ModelConfig.named("tiny")
    values: Document = {
        "kind": "onnx",
        "model": "model.onnx",
        "files": (
            FileEntry(path="model.onnx", size=10, sha256=DIGEST),
            FileEntry(path="model.onnx.data", size=2_280_000, sha256=DIGEST[::-1]),
        ),
        "input": InputEntry(
            name="image",
            dtype="float32",
            preprocessing=Preprocessing.named("stretch", size=config.encoder.image_size),
        ),
        "outputs": ("logits", "embedding"),
        "labels": labels_for(7),
        "max_batch": 16,
        "precision": "fp16",
        "requested_precision": "fp16",
        "attention": "fused",
        "source": Source(
            checkpoint="démo.safetensors",
            sha256=DIGEST,
            random_weights=False,
            fresh_head=False,
            config=config,
        ),
        "graph": GraphSummary(
            opset=23,
            nodes=120,
            attention_nodes=6,
            compute_nodes={"float16": 30},
            weight_bytes={"float16": 1_000},
        ),
        "parity": ParityReport(
            passed=True,
            images=8,
            image_source="seeded synthetic faces",
            comparisons=(
                comparison(),
                comparison(evidence="rounding", failures=("logit cosine 0.9 < 0.99",)),
            ),
            activations=(BlockActivation(block="encoder.blocks.0", stream=12.5, compute=3.0),),
            warnings=("encoder.blocks.0 reaches 12,000",),
        ),
        "attempts": (Attempt(precision="bf16", reason="cosine 0.9"),),
        "tools": {"torch": "2.13.0"},
        "purpose": "research on acted expressions",
    }
    return Manifest(**values | changes)


VALID_TEXT = valid().to_json()


def text_with(path: tuple[str | int, ...], value: Any) -> bytes:
    """The valid manifest's JSON with one value changed."""
    document = json.loads(VALID_TEXT)
    target = document
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return json.dumps(document).encode()


def test_a_manifest_survives_its_json() -> None:
    manifest = valid()
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert len(manifest.to_json()) < schema.MAX_BYTES / 100


def schemas_below(value: object) -> list[Any]:
    if isinstance(value, tuple):
        return [found for item in value for found in schemas_below(item)]
    if not isinstance(value, Schema):
        return []
    return [value, *schemas_below(tuple(getattr(value, name) for name in value.__struct_fields__))]


def with_engine(**changes: Any) -> Manifest:
    sides = {"min_size": (128, 96), "opt_size": (128, 96), "max_size": (128, 96)}
    engine = engine_entry.EngineEntry(
        backend="tensorrt-rtx",
        path="model.engine",
        onnx_sha256=DIGEST,
        version="1.7.1.116",
        platform="linux-x86_64",
        precision="fp16",
        attention="fused",
        compute_capabilities=("86",),
        device=engine_entry.EngineDevice(
            name="GPU", compute_capability="8.6", memory=1, driver="580.1"
        ),
        profile=engine_entry.ShapeProfile(min_batch=1, opt_batch=1, max_batch=8, **sides),
        hardware_compatibility="none",
        version_compatible=False,
        weight_streaming=False,
        build_seconds=1.5,
        build_peak_bytes=1,
        report=engine_entry.EngineReport(
            evidence="compiler",
            layers=75,
            matrix_layers={"float16": 32},
            attention_layers=6,
            attention_fused=6,
            activation_bytes=9_427_968,
        ),
    )
    file = FileEntry(path="model.engine", size=10, sha256=DIGEST)
    return valid(**{"files": (*valid().files, file), "engines": (engine,)} | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": valid().files}, "engine 'model.engine' is not among its files"),
        ({"engines": with_engine().engines * 2}, "two engines of one backend"),
        ({"kind": "engine"}, "must name exactly that engine"),
        ({"reference": "reference.npz"}, "reference 'reference.npz' is not among its files"),
    ],
)
def test_engines_that_do_not_fit_the_manifest_are_refused(changes: Any, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        with_engine(**changes)


FIDELITY = fidelity.Fidelity(
    teacher=fidelity.Teacher(checkpoint="full.pth", sha256=DIGEST, flop=9, licence="as it may be"),
    image_size=(128, 96),
    measured_on="validation",
    images=2,
    agreement=0.5,
    by_class={"neutral": fidelity.ClassAgreement(images=2, agreement=0.5)},
    kl=0.1,
    calibration_error=0.2,
    calibrated_on="labels",
    accuracy=0.5,
    teacher_accuracy=1.0,
    temperature=2.0,
    distances=(
        fidelity.DistanceFidelity(unknown="noise", images=2, auroc=0.9, teacher_auroc=None),
    ),
)
QUANTISATION = quantisation.Quantisation(
    tool="nncf 3.4.0",
    images=8,
    smooth_quant=False,
    variants=(quantisation.QuantisedVariant(smooth_quant=False, comparison=comparison()),),
    linear_layers={"int8": 16},
    fused_attentions=4,
    speed=quantisation.SpeedComparison(
        runtime="openvino-bf16",
        baseline="openvino",
        milliseconds=1.0,
        baseline_milliseconds=2.0,
        ratio=2.0,
        lower_quartile=1.5,
        rounds=6,
        processor="a processor",
    ),
)


def test_every_value_in_a_manifest_survives_on_its_own() -> None:
    taught = msgspec.structs.replace(valid().source, fidelity=FIDELITY)
    whole = with_engine(source=taught, quantisation=QUANTISATION)
    values = schemas_below((whole, valid().model_identity(), *FIDELITY.by_class.values()))
    defined = {
        cls
        for module in (manifests, engine_entry, fidelity, quantisation)
        for cls in vars(module).values()
        if isinstance(cls, type) and issubclass(cls, Schema) and cls is not Schema
    }
    assert {type(value) for value in values} >= defined
    for value in values:
        assert schema.decode(schema.encode(value), type(value)) == value


def test_an_entry_is_found_by_its_path() -> None:
    assert valid().entry("model.onnx.data").size == 2_280_000
    with pytest.raises(ArtifactError, match="the manifest names no file 'other'"):
        valid().entry("other")


def test_a_comparison_passes_when_nothing_failed() -> None:
    assert comparison().passed
    assert not comparison(failures=("cosine",)).passed


HOSTILE_PATHS = [
    "",
    ".",
    "..",
    "../model.onnx",
    "a/../../model.onnx",
    "a/./model.onnx",
    "a//model.onnx",
    "/etc/passwd",
    "//server/share",
    "model.onnx/",
    "C:/model.onnx",
    "C:model.onnx",
    "model.onnx:stream",
    "..\\model.onnx",
    "a\\model.onnx",
    "model.onnx\0",
    "model\n.onnx",
    "model\x1b[31m.onnx",
    "model\x7f.onnx",
    "model\u202exnno.",  # shown from right to left
    "model\u200b.onnx",  # zero width
    "model\ue000.onnx",  # private use
    "e\u0301.onnx",
    "model.onnx.",
    "model.onnx ",
    "a./model.onnx",
    "x" * 1_025,
]


@pytest.mark.parametrize("path", HOSTILE_PATHS, ids=ascii)
def test_a_path_that_is_not_plainly_below_the_folder_is_refused(path: str) -> None:
    with pytest.raises(ArtifactError, match="is not a plain relative path") as raised:
        Manifest.from_json(text_with(("files", 1, "path"), path))
    assert len(str(raised.value)) < 200
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "path", ["weights/model.onnx.data", "modèle.data", "模型.data", "a b.data", ".data", "..data"]
)
def test_an_ordinary_path_is_accepted(path: str) -> None:
    assert Manifest.from_json(text_with(("files", 1, "path"), path)).files[1].path == path


@pytest.mark.parametrize(
    "path", ["model.onnx", "MODEL.onnx", "Model.ONNX", "manifest.json", "Manifest.JSON"]
)
def test_a_file_named_twice_in_any_case_or_the_manifest_itself_is_refused(path: str) -> None:
    with pytest.raises(ArtifactError, match="names a file twice, or itself"):
        Manifest.from_json(text_with(("files", 1, "path"), path))


def test_names_that_differ_in_more_than_one_letters_case_still_collide() -> None:
    files = [
        {"path": path, "size": 1, "sha256": DIGEST} for path in ("model.onnx", "straße", "STRASSE")
    ]
    with pytest.raises(ArtifactError, match="names a file twice"):
        Manifest.from_json(text_with(("files",), files))


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("model",), "other.onnx", "model 'other.onnx' is not among its files"),
        (("model",), "MODEL.ONNX", "model 'MODEL.ONNX' is not among its files"),
        (("files",), [], "is not among its files"),
        (("files", 0, "sha256"), DIGEST.upper(), "files[0].sha256: Expected `str` matching"),
        (("files", 0, "sha256"), DIGEST[1:], "files[0].sha256: Expected `str` matching regex"),
        (("files", 0, "sha256"), DIGEST + "\n", "files[0].sha256: Expected `str` matching regex"),
        (("files", 0, "size"), -1, "files[0].size: Expected `int` >= 0"),
        (("files", 0, "size"), 10.0, "files[0].size: Expected `int`, got `float`"),
        (("files", 0, "size"), True, "files[0].size: Expected `int`, got `bool`"),
        (("files", 0, "size"), 10**400, "is beyond 64 bits"),
        (("files", 0, "mode"), 1, "files[0]: Object contains unknown field `mode`"),
        (("source", "sha256"), "", "source.sha256: Expected `str` matching regex"),
        (("format_version",), 2, "format_version: Invalid enum value 2"),
        (("format_version",), True, "format_version: Expected `int`, got `bool`"),
        (("kind",), "pickle", "kind: Invalid enum value 'pickle'"),
        (("precision",), "fp4", "precision: Invalid enum value 'fp4'"),
        (("max_batch",), 0, "max_batch: Expected `int` >= 1"),
        (("labels",), list(labels_for(8)), "labels do not fit its number of classes"),
        (("labels", 1), "neutral", "labels are not distinct"),
        (("labels", 1), "joy\x1b[2J", "label 'joy\\x1b[2J' is not a short printable text"),
        (("labels", 1), "joy\u202e", "is not a short printable text"),
        (("labels", 1), " ", "is not a short printable text"),
        (("labels", 1), "x" * 101, "is not a short printable text"),
        (("source", "checkpoint"), "../a.pth", "checkpoint '../a.pth' is not the name of a file"),
        (("input", "preprocessing", "size"), [64, 64], "does not have the model's size"),
        (("input", "preprocessing", "size"), [-1, 96], "preprocessing sizes must be between 1 and"),
        (("input", "preprocessing", "std"), [0, 1, 1], "deviations must be positive"),
        (("input", "preprocessing", "name"), "crop", "input.preprocessing.name: Invalid enum"),
        (("source", "config", "encoder", "num_heads"), 5, "96 is not divisible by 5 heads"),
        (("source", "config", "encoder", "num_heads"), 0, "num_heads must be between 1 and"),
        (("source", "config", "decoder", "num_groups"), 8, "num_groups 8 must not exceed"),
        (
            ("parity", "comparisons", 0, "logit_cosine"),
            None,
            "parity.comparisons[0].logit_cosine: Expected `float`, got `null`",
        ),
        (("graph", "compute_nodes", "float16"), 1.5, "graph.compute_nodes[...]: Expected `int`"),
    ],
)
def test_a_value_that_breaks_a_rule_is_named(
    path: tuple[str | int, ...], value: Any, reason: str
) -> None:
    with pytest.raises(ArtifactError) as raised:
        Manifest.from_json(text_with(path, value))
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data + b"{}", "Extra data"),
        (lambda data: data[:-3], "not JSON"),
        (
            lambda data: data.replace(b'"kind"', b'"model": "x", "kind"', 1),
            "key 'model' appears twice",
        ),
        (lambda data: data.replace(b"0.999", b"NaN", 1), "NaN and infinity are not JSON numbers"),
        (lambda data: data.replace(b"0.999", b"1e999", 1), "NaN and infinity are not JSON numbers"),
        (lambda data: data + b" " * schema.MAX_BYTES, "more than the 1000000 allowed"),
        (lambda data: b"[" * 100_000, "nested deeper"),
        (lambda data: data.decode().encode("utf-16-le"), "not JSON"),
        (lambda data: b"[]", "Expected `object`, got `array`"),
        (lambda data: b"", "not JSON"),
    ],
)
def test_text_that_is_not_one_strict_object_is_refused(
    damage: Callable[[bytes], bytes], reason: str
) -> None:
    with pytest.raises(ArtifactError) as raised:
        Manifest.from_json(damage(VALID_TEXT))
    assert reason in str(raised.value)


def test_figures_that_are_not_numbers_are_never_written() -> None:
    broken = msgspec.structs.replace(
        valid().parity, comparisons=(comparison(logit_cosine=float("nan")),)
    )
    with pytest.raises(schema.SchemaError, match="NaN and infinity"):
        valid(parity=broken).to_json()


SPLICES = [b"", *b'{ } [ " , : null true -1 0 1.5 1e999 NaN \xff'.split()]
SPLICES += [*rb"\ud800 \u0000 .. / \\".split(), b"9" * 30, b"9" * 5_000]
SPLICES += [b'"model"', b"fp16", b"[" * 50]


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Flip bits or splice pieces; half of them fall inside a value, where JSON stays valid."""
    text = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(text))
        if draw.random() < 0.5:
            text[place] ^= 1 << draw.randrange(8)
        else:
            text[place : place + draw.randint(0, 6)] = draw.choice(SPLICES)
    return bytes(text)


def refusal(data: bytes) -> str | None:
    """The message of a refusal, None if the manifest and its own JSON are accepted."""
    try:
        manifest = Manifest.from_json(data)
    except ArtifactError as error:
        return str(error)
    assert Manifest.from_json(manifest.to_json()) == manifest
    return None


def test_four_thousand_damaged_manifests_are_accepted_whole_or_refused_as_artifact_errors() -> None:
    data, draw = VALID_TEXT, random.Random(2)
    refusals = [message for _ in range(4_000) if (message := refusal(damaged(data, draw)))]
    assert 2_500 < len(refusals) < 4_000
    assert all(len(message) < 400 and message.isprintable() for message in refusals)


VALUES: list[Any] = [None, True, False, 0, -1, 1, 2**62, 1.5, -1e300, "", "x", "\0", "é"]
VALUES += [[], {}, [[]], [1, 2], {"a": 1}]


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    children: Any = enumerate(value) if isinstance(value, list) else ()
    if isinstance(value, dict):
        children = value.items()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


def test_any_value_in_any_place_gives_a_manifest_or_an_artifact_error() -> None:
    changed = [path for path in places(json.loads(VALID_TEXT)) if path]
    refusals = [refusal(text_with(path, value)) for path in changed for value in VALUES]
    assert len(changed) > 100
    assert len(refusals) / 2 < sum(message is not None for message in refusals) < len(refusals)
    assert all(message is None or message.isprintable() for message in refusals)
