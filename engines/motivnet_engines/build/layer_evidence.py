"""What the layers of a compiled engine prove about the network that they were made from.

A typed network cannot change its types, and kernels have other names in every version: an engine
is refused on what its layers state, and what nobody can read in them is announced by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from motivnet.errors import EngineError
from motivnet.parity import COMPUTE_DTYPES, Precision
from motivnet_engines.build.layers import UNKNOWN, CompiledLayer
from motivnet_engines.runtimes.tensorrt.api import DTYPES

_PRODUCTS = ("MATRIX_MULTIPLY", "CONVOLUTION")
_SUFFIX = "_AttentionInput"
"""What the parser appends to the name of an ``Attention`` node for the first of its two layers."""

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkNodes:
    """The ONNX nodes of a parsed network: products with their dtypes, and attention operators."""

    products: dict[str, str]
    attentions: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionCount:
    """How many attention operators are one kernel, how many are products, and all the others."""

    fused: int
    unfused: int
    unknown: tuple[str, ...]


def nodes_from_network(network: Any) -> NetworkNodes:
    """Return the nodes of a parsed ``INetworkDefinition``, whose layers are named after them."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    return NetworkNodes(
        products={
            layer.name: DTYPES.get(layer.get_input(0).dtype.name, UNKNOWN)
            for layer in layers
            if layer.type.name in _PRODUCTS
        },
        attentions=frozenset(
            layer.name.removesuffix(_SUFFIX)
            for layer in layers
            if layer.type.name == "ATTENTION_INPUT"
        ),
    )


def count_attentions(layers: Sequence[CompiledLayer], attentions: frozenset[str]) -> AttentionCount:
    """Count what became of the ``Attention`` operators.

    One is unfused if a layer that is a product, and was made from attention operators alone, came
    from it. A kernel that also splits heads behind a projection names the projection too.
    """
    fused, unfused = set[str](), set[str]()
    for layer in layers:
        origins = attentions.intersection(layer.origins)
        if layer.role == "fused-attention":
            fused |= origins
        elif layer.role == "matrix" and origins and origins == {*layer.origins}:
            unfused |= origins
    unknown = attentions - fused - unfused
    return AttentionCount(
        fused=len(fused), unfused=len(unfused - fused), unknown=tuple(sorted(unknown))
    )


def check_products(
    layers: Iterable[CompiledLayer], nodes: NetworkNodes, *, precision: Precision
) -> None:
    """Check that no kernel states another dtype than the product that it was made from.

    Raises:
        EngineError: Naming the first kernels that do.
    """
    asked = COMPUTE_DTYPES[precision]
    wrong = [
        f"{layer.name} ({layer.stated_dtype})"
        for layer in layers
        if layer.role == "matrix"
        and layer.stated_dtype not in (UNKNOWN, asked)
        and {nodes.products[name] for name in layer.origins if name in nodes.products} == {asked}
    ]
    if wrong and precision not in ("int8", "fp8"):
        raise EngineError(
            f"the engine is not {precision}: {len(wrong)} of its kernels multiply in another dtype "
            f"than the graph, such as {_shown(wrong)}; use another TensorRT version"
        )


def find_doubts(layers: Sequence[CompiledLayer], nodes: NetworkNodes) -> tuple[str, ...]:
    """Return a line about everything in the layers that is not known, with names."""
    doubts = []
    matrices = [layer for layer in layers if layer.role == "matrix"]
    if untold := [layer.name for layer in matrices if layer.compute_dtype == UNKNOWN]:
        doubts.append(f"the dtype of {len(untold)} products is not told: {_shown(untold)}")
    known = {name for layer in layers if layer.role != "other" for name in layer.origins}
    strangers = [
        f"{layer.name} ({layer.kind})"
        for layer in layers
        if layer.role == "other" and layer.origins and {*layer.origins} <= nodes.products.keys()
        if not known.intersection(layer.origins)
    ]
    if strangers:
        doubts.append(f"kernels of an unknown kind were made from products: {_shown(strangers)}")
    for name in count_attentions(layers, nodes.attentions).unknown:
        kernels = [layer.name for layer in layers if name in layer.origins]
        doubts.append(
            f"none of the kernels of {name} is known as fused attention or as a product: "
            f"{_shown(kernels) or 'there are none'}"
        )
    return tuple(doubts)


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
