"""What an engine is made of: its matrix products by dtype and its fused attentions, and whether
that is what was asked.

Three kinds of evidence, from the strongest to the weakest: the inspector of the built engine, the
compiler's own list of the layers that it made, and the parsed network before compilation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from motivnet.artifact.manifest import (
    COMPUTE_DTYPES,
    AttentionForm,
    EngineProof,
    Precision,
    ProofEvidence,
)
from motivnet.errors import EngineError
from motivnet_engines.build.layers import UNKNOWN, CompiledLayer

_QUANTISED: tuple[Precision, ...] = ("int8", "fp8")
"""Here only the layers between Q/DQ pairs are quantised; the others stay in floating point."""

_NETWORK_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "FP8": "float8e4m3fn",
}
_MATRIX_LAYERS = ("MATRIX_MULTIPLY", "CONVOLUTION")
_ATTENTION_LAYERS = ("ATTENTION_INPUT", "SOFTMAX")
"""The first half of each ``Attention`` operator, and the middle of each attention that was written as products."""

_ACTIVATION_MEMORY = re.compile(r"Total Activation Memory: (\d+) bytes")


def network_proof(network: Any) -> EngineProof:
    """What a parsed ``INetworkDefinition`` says: constants and the arithmetic of shapes are no matrix products."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    quantised = _dequantised_tensors(layers)
    kinds = Counter(layer.type.name for layer in layers)
    attentions = [layer for layer in layers if layer.type.name == "ATTENTION_INPUT"]
    products = [layer for layer in layers if layer.type.name in _MATRIX_LAYERS]
    dtypes = Counter(_input_dtype(layer, quantised) for layer in (*products, *attentions))
    return EngineProof(
        evidence="network",
        layers=len(layers),
        matrix_layers=dict(sorted(dtypes.items())),
        attention_layers=sum(kinds[kind] for kind in _ATTENTION_LAYERS),
        attention_fused=None,
        activation_bytes=None,
    )


def proof_from_layers(
    layers: Sequence[CompiledLayer],
    *,
    network: EngineProof,
    evidence: ProofEvidence,
    activation_bytes: int | None,
) -> EngineProof:
    """What a compiled engine's layers say; the network tells how many attentions there should be.

    A fused attention is one kernel, which names its ONNX nodes. Two kernels of the same nodes are
    one attention.
    """
    fused = [layer for layer in layers if layer.role == "fused-attention"]
    products = [layer for layer in layers if layer.role != "other"]
    dtypes = Counter(layer.compute_dtype for layer in products)
    attentions = len({layer.origins or (layer.name,) for layer in fused})
    return EngineProof(
        evidence=evidence,
        layers=len(layers),
        matrix_layers=dict(sorted(dtypes.items())),
        attention_layers=network.attention_layers,
        attention_fused=min(attentions, network.attention_layers),
        activation_bytes=activation_bytes,
    )


def activation_bytes_from_log(lines: Iterable[tuple[str, str]]) -> int | None:
    """What the builder said that it reserves for activations, in bytes; None if it said nothing."""
    sizes = [int(match[1]) for _, text in lines if (match := _ACTIVATION_MEMORY.search(text))]
    return sizes[-1] if sizes else None


def check_proof(
    proof: EngineProof,
    *,
    precision: Precision,
    attention: AttentionForm,
    float32_layers: int = 0,
    unfused_bytes: int | None = None,
) -> None:
    """Returns when an engine multiplies in its precision and, where that was asked, fuses every
    attention.

    A decomposed attention may be fused or not: TensorRT decides, and the proof records it. Layers
    whose dtype the evidence does not tell count neither for nor against.

    Args:
        proof: What was found.
        precision: What the graph computes in.
        attention: How the graph writes attention.
        float32_layers: Matrix products that the graph itself has in FP32.
        unfused_bytes: Activations from which on an attention cannot be fused; asked only where the
            proof does not show the kernels, None where they do not tell either.

    Raises:
        EngineError: With the counts.
    """
    _check_dtypes(proof, precision, float32_layers)
    if attention == "fused":
        _check_attention(proof, unfused_bytes)


def _check_dtypes(proof: EngineProof, precision: Precision, float32_layers: int) -> None:
    wanted = COMPUTE_DTYPES[precision]
    others = {
        dtype: count
        for dtype, count in proof.matrix_layers.items()
        if dtype not in (wanted, UNKNOWN)
    }
    if others.get("float32", 0) <= float32_layers:
        others.pop("float32", None)
    untold = proof.matrix_layers.keys() == {UNKNOWN}
    if not (proof.matrix_layers.get(wanted) or untold) or (others and precision not in _QUANTISED):
        raise EngineError(
            f"the engine is not {precision}: its {_counts(proof)}; take another TensorRT version or another --precision"
        )


def _check_attention(proof: EngineProof, unfused_bytes: int | None) -> None:
    if not proof.attention_layers:
        raise EngineError("the graph was to hold fused attentions and the parsed network has none")
    if reason := _unfused(proof, unfused_bytes):
        raise EngineError(
            f"an attention is not fused: {reason}; build the artifact with --attention decomposed"
        )


def _unfused(proof: EngineProof, unfused_bytes: int | None) -> str | None:
    """Why an attention cannot have been fused, None where nothing says so."""
    fused, reserved = proof.attention_fused, proof.activation_bytes
    if fused is not None:
        found = f"{fused} of {proof.attention_layers} became one kernel ({proof.evidence})"
        return found if fused < proof.attention_layers else None
    if reserved is None or unfused_bytes is None or reserved < unfused_bytes:
        return None
    return f"the engine reserves {reserved:,} bytes for activations, and scores alone take {unfused_bytes:,}"


def _counts(proof: EngineProof) -> str:
    products = ", ".join(f"{count} in {dtype}" for dtype, count in proof.matrix_layers.items())
    return f"matrix products are {products or 'none'} ({proof.evidence})"


def _input_dtype(layer: Any, quantised: dict[str, str]) -> str:
    """The dtype of what a layer multiplies; between Q/DQ pairs that of the quantised numbers.

    A typed network dequantises in front of each product, and the compiler moves the product in
    front of that.
    """
    tensor = layer.get_input(0)
    return quantised.get(tensor.name) or _NETWORK_DTYPES.get(
        tensor.dtype.name, tensor.dtype.name.lower()
    )


def _dequantised_tensors(layers: Sequence[Any]) -> dict[str, str]:
    """Names of tensors that were just dequantised, with the dtype that they had before."""
    return {
        layer.get_output(0).name: _NETWORK_DTYPES.get(layer.get_input(0).dtype.name, UNKNOWN)
        for layer in layers
        if layer.type.name == "DEQUANTIZE"
    }
