"""What is read out of a model that OpenVINO compiled."""

from __future__ import annotations

from pathlib import Path

import pytest

from motivnet.artifact import open_artifact
from motivnet.errors import RuntimeUnavailableError
from motivnet_engines.runtimes.openvino_ import OpenVINORuntime
from motivnet_engines.runtimes.openvino_layers import layers_from_pairs


@pytest.mark.parametrize(
    ("pairs", "linear", "split", "compute"),
    [
        ([("FullyConnected", "f32"), ("Subgraph", "f32")], {"float32": 1}, 0, "float32"),
        ([("FullyConnected", "bf16")] * 3 + [("MVN", "f32")], {"bfloat16": 3}, 0, "bfloat16"),
        (
            [("FullyConnected", "i8"), ("FullyConnected", "u8"), ("Convolution", "f32")],
            {"float32": 1, "int8": 2},
            0,
            "int8",
        ),
        # The head of a small model has more layers than its encoder, and less work.
        ([("FullyConnected", "i8")] + [("FullyConnected", "f32")] * 2, None, 0, "int8"),
        ([("MatMul", "i8"), ("Softmax", "f32"), ("MatMul", "f32")] * 2, {}, 2, "float32"),
    ],
)
def test_layers_are_counted_by_dtype(
    pairs: list[tuple[str, str]], linear: dict[str, int] | None, split: int, compute: str
) -> None:
    layers = layers_from_pairs(pairs)
    assert linear is None or layers.linear == linear
    assert (layers.split_attentions, layers.compute) == (split, compute)


def test_the_layers_of_an_opened_model_are_those_of_its_dtype(fp32_artifact: Path) -> None:
    with OpenVINORuntime(open_artifact(fp32_artifact)) as runtime:
        layers = runtime.compiled_layers()
    assert set(layers.linear) == {"float32"}
    assert layers.split_attentions == 0
    with pytest.raises(RuntimeUnavailableError, match="closed"):
        runtime.compiled_layers()
