"""The check of a model's bytes before any parser: files, operators, weights, memory and work.

A model may hold and compute twice what the network of its configuration does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import PurePosixPath

import numpy as np

from motivnet.artifact.manifest import Manifest
from motivnet.artifact.onnx_graph.operators import LONGEST_INDEX, Result, Value, result_of
from motivnet.artifact.onnx_graph.reading import (
    INT64,
    Declared,
    Graph,
    Node,
    Tensor,
    graph_of_model,
)
from motivnet.config import ModelConfig
from motivnet.errors import ArtifactError

_SLACK = 2
_SMALLEST = 1 << 16
_NODES_OF_A_BLOCK, _OTHER_NODES = 64, 128
"""Exports have at most 45 nodes per block (INT8, decomposed attention), and 40 others."""

_LIVE_TENSORS = 8
"""Tensors of the largest size at the same time; a block of the exports has up to four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most elements of one tensor and of all live tensors, and the most multiplications."""

    elements: int
    live: int
    multiplications: int


def check_model(data: bytes | memoryview, manifest: Manifest, *, data_bytes: int | None) -> None:
    """Check that a model's bytes are a graph that this toolkit could have exported.

    It refers to no file but ``<model>.data`` beside it, has the operators of our exports and
    nothing nested, and holds the weights. For a call of up to ``max_batch`` images its tensors
    and its work are within ``limits_of``.

    Args:
        data_bytes: Size of the file beside the model in the manifest; None if there is none.

    Raises:
        ArtifactError: If not.
    """
    config = manifest.source.config
    try:
        graph = graph_of_model(memoryview(data), max_nodes=max_nodes(config))
        # Parsers look for it in the folder of the model, which may be below the manifest's.
        location = f"{PurePosixPath(manifest.model).name}.data"
        _check_tensors(graph.tensors, location=location, data_bytes=data_bytes)
        _check_weights(graph.tensors, config)
        # No side shrinks as the batch grows (``operators._constants``), so the largest batch
        # bounds all others.
        limits = limits_of(config, batch=manifest.max_batch)
        _check_shapes(graph, _Walk(limits, batch=manifest.max_batch))
    except ArtifactError as error:
        raise ArtifactError(
            f"{manifest.model} is not opened: {error}; build the artifact again"
        ) from error


class _Walk:
    """The shapes of the values so far, and the memory and work that they need."""

    def __init__(self, limits: Limits, *, batch: int) -> None:
        self.values: dict[str, Value] = {}
        self.batch = batch
        self._limits = limits
        self._live = 0
        self._multiplications = 0

    def define(self, name: str, value: Value) -> None:
        """Add a value under a new name."""
        if not name or name in self.values:
            raise ArtifactError(f"two values of the graph have the name {name[:80]!r}")
        if 0 in value.dims:
            raise ArtifactError(f"{name[:80]!r} is empty, which nothing in an export is")
        if value.elements > self._limits.elements:
            raise ArtifactError(
                f"{name[:80]!r} would have {value.elements:,} elements; "
                f"a model of its configuration has at most {self._limits.elements:,}"
            )
        self.values[name] = value

    def count(self, node: Node, result: Result) -> None:
        """Add the memory and work of a node; its outputs live until ``release``."""
        self._multiplications += result.multiplications
        self._live += sum(value.elements for value in result.outputs)
        if result.inside > self._limits.elements or self._live > self._limits.live:
            raise ArtifactError(
                f"{node.operator} takes more memory than a model of its configuration"
            )
        if self._multiplications > self._limits.multiplications:
            raise ArtifactError("the graph computes more than a model of its configuration")

    def release(self, names: Iterable[str]) -> None:
        """Subtract the memory of values that nothing reads any more."""
        self._live -= sum(self.values[name].elements for name in names)


def _check_tensors(tensors: Iterable[Tensor], *, location: str, data_bytes: int | None) -> None:
    """Check that all external data is in the one file that was hashed, and no byte used twice."""
    total = 0
    for tensor in tensors:
        if tensor.external is None:
            continue
        named, offset, length = tensor.external
        if data_bytes is None or named != location:
            raise ArtifactError(
                f"the tensor {tensor.name[:80]!r} is in the file {named[:80]!r}, "
                f"which is not a {location} that the manifest lists"
            )
        total += length
        if offset + length > data_bytes or total > data_bytes:
            raise ArtifactError(f"the tensor {tensor.name[:80]!r} lies outside {location}")


def _check_weights(tensors: Iterable[Tensor], config: ModelConfig) -> None:
    """Check that the model holds its weights, because its limits follow from its stated size."""
    held = sum(prod(tensor.dims) for tensor in tensors)
    if held < config.parameters // 2:
        raise ArtifactError(
            f"it holds {held:,} numbers; its configuration has {config.parameters:,} parameters"
        )


def _check_shapes(graph: Graph, walk: _Walk) -> None:
    for declared in graph.inputs:
        walk.define(declared.name, Value(_seed(declared, walk.batch)))
    for tensor in graph.tensors:
        walk.define(tensor.name, _constant(tensor))
    last_uses = _last_uses(graph)
    for index, node in enumerate(graph.nodes):
        result = result_of(node, [_input(walk, name) for name in node.inputs])
        for name, value in zip(node.outputs, result.outputs, strict=True):
            walk.define(name, value)
        walk.count(node, result)
        walk.release(last_uses.get(index, ()))
    for declared in (*graph.outputs, *graph.hints):
        _check_declared(declared, walk.values)


def _seed(declared: Declared, batch: int) -> tuple[int | None, ...]:
    """Return the input's shape for one batch size; other free sides stay unknown."""
    if not declared.dims:
        raise ArtifactError(f"the input {declared.name[:80]!r} has no shape")
    first, *others = declared.dims
    return (batch if first is None else first, *others)


def _constant(tensor: Tensor) -> Value:
    is_short = len(tensor.dims) == 1 and tensor.dims[0] <= LONGEST_INDEX
    if tensor.dtype != INT64 or not is_short or tensor.external is not None:
        return Value(tensor.dims)
    numbers = tuple(np.frombuffer(tensor.raw, "<i8").tolist())
    return Value(tensor.dims, numbers, is_constant=True)


def _input(walk: _Walk, name: str) -> Value | None:
    if not name:
        return None
    if name not in walk.values:
        raise ArtifactError(f"a node reads {name[:80]!r}, which nothing before it gives")
    return walk.values[name]


def _last_uses(graph: Graph) -> dict[int, list[str]]:
    """Return, by the index of a node, the results that nothing after it reads."""
    last: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        read = [name for name in node.inputs if name in last]
        last.update(dict.fromkeys((*read, *node.outputs), index))
    for declared in graph.outputs:
        last.pop(declared.name, None)
    uses: dict[int, list[str]] = {}
    for name, index in last.items():
        uses.setdefault(index, []).append(name)
    return uses


def _check_declared(declared: Declared, values: dict[str, Value]) -> None:
    """Check a shape that the file states, because parsers allocate what is stated."""
    if declared.name not in values:
        raise ArtifactError(f"the graph describes {declared.name[:80]!r}, which it does not have")
    if declared.dims is None:
        return
    dims = values[declared.name].dims
    pairs = zip(declared.dims, dims, strict=False)
    if len(declared.dims) != len(dims) or any(said not in (None, real) for said, real in pairs):
        raise ArtifactError(
            f"the graph gives {declared.name[:80]!r} another shape than its nodes do"
        )


def limits_of(config: ModelConfig, *, batch: int) -> Limits:
    """Return the limits of a model's graph for one call of ``batch`` images."""
    elements = max(_SMALLEST, _SLACK * max(config.parameters, batch * _largest_tensor(config)))
    products = _SLACK * batch * _multiplications(config)
    return Limits(elements=elements, live=_LIVE_TENSORS * elements, multiplications=products)


def max_nodes(config: ModelConfig) -> int:
    """Return the most nodes, and the most initialisers, of a model's graph."""
    return _NODES_OF_A_BLOCK * (config.encoder.depth + config.decoder.depth) + _OTHER_NODES


def _largest_tensor(config: ModelConfig) -> int:
    """Return the elements of the largest tensor per image: pixels, an MLP or attention scores."""
    encoder, decoder, tokens = config.encoder, config.decoder, prod(config.encoder.grid_size)
    groups, per_group = decoder.num_groups, -(-decoder.num_classes // decoder.num_groups)
    rows, columns = encoder.image_size
    return max(
        3 * (rows + 2 * encoder.patch_padding) * (columns + 2 * encoder.patch_padding),
        tokens * max(3 * encoder.embed_dim, encoder.mlp_dim, 2 * decoder.embed_dim),
        encoder.num_heads * tokens**2,
        decoder.num_heads * groups * max(tokens, groups),
        groups * max(decoder.mlp_dim, decoder.embed_dim * per_group),
    )


def _multiplications(config: ModelConfig) -> int:
    """Return a bound: each weight once per token or query, and the products of attentions."""
    encoder, decoder, tokens = config.encoder, config.decoder, prod(config.encoder.grid_size)
    weights = config.parameters * max(tokens, decoder.num_groups)
    attention = 2 * tokens**2 * encoder.embed_dim * encoder.depth
    return weights + attention + 2 * decoder.num_groups * tokens * decoder.embed_dim * decoder.depth
