"""What a manifest promises of the graph, against graphs that keep or break it."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from motivnet.errors import ArtifactError
from motivnet.runtime import TensorSpec
from motivnet_engines.runtimes.fake import fake_manifest
from motivnet_engines.runtimes.signature import check_graph, input_specs, output_specs

IMAGE = TensorSpec(name="image", dtype="float32", shape=(None, 3, 128, 96))
LOGITS = TensorSpec(name="logits", dtype="float32", shape=(None, 7))
EMBEDDING = TensorSpec(name="embedding", dtype="float32", shape=(None, 96))


def test_float_input_is_channels_first_and_byte_input_channels_last() -> None:
    assert input_specs(fake_manifest()) == (IMAGE,)
    assert input_specs(fake_manifest(dtype="uint8")) == (
        TensorSpec(name="image", dtype="uint8", shape=(None, 128, 96, 3)),
    )


def test_outputs_are_in_the_manifests_order() -> None:
    manifest = msgspec.structs.replace(fake_manifest(), outputs=("embedding", "logits"))
    assert output_specs(manifest) == (EMBEDDING, LOGITS)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [(("logits", "heat"), "unknown output 'heat'"), (("embedding",), "no output 'logits'")],
)
def test_outputs_that_are_unknown_or_lack_the_logits_are_refused(
    outputs: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        output_specs(msgspec.structs.replace(fake_manifest(), outputs=outputs))


def test_a_graph_in_another_order_fits() -> None:
    check_graph(fake_manifest(), inputs=(IMAGE,), outputs=(EMBEDDING, LOGITS))


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (
            (dataclasses.replace(IMAGE, shape=(1, 3, 128, 96)),),
            (LOGITS, EMBEDDING),
            r"not float32 \(1, 3, 128, 96\)",
        ),
        ((dataclasses.replace(IMAGE, dtype="float16"),), (LOGITS, EMBEDDING), r"not float16"),
        (
            (dataclasses.replace(IMAGE, name="x"),),
            (LOGITS, EMBEDDING),
            "'image' should be .* not missing",
        ),
        (
            (IMAGE, dataclasses.replace(IMAGE, name="mask")),
            (LOGITS, EMBEDDING),
            "does not name: mask",
        ),
        (
            (IMAGE,),
            (dataclasses.replace(LOGITS, shape=(None, 8)), EMBEDDING),
            r"'logits' should be float32 \(batch, 7\)",
        ),
        ((IMAGE,), (LOGITS,), "'embedding' should be .* not missing"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        check_graph(fake_manifest(), inputs=inputs, outputs=outputs)
