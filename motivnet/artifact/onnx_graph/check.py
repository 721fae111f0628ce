"""The one check of a model's bytes before any parser: what it refers to, what it is made of, how much it takes."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from pathlib import PurePosixPath

import numpy as np

from motivnet.artifact.manifest import Manifest
from motivnet.artifact.onnx_graph.limits import Limits, limits_of, max_nodes
from motivnet.artifact.onnx_graph.operators import LONGEST_SHAPE, Result, Value, result_of
from motivnet.artifact.onnx_graph.reading import Declared, Graph, Node, Tensor, graph_of_model
from motivnet.config import ModelConfig
from motivnet.errors import ArtifactError

_INT64 = 7


def check_model(data: bytes | memoryview, manifest: Manifest, *, data_bytes: int | None) -> None:
    """Returns when a model's bytes are a graph that this toolkit could have exported for the
    manifest's configuration.

    It refers to no file but ``<model>.data`` beside it, has the operators of our exports and
    nothing nested, holds the weights, and for a call of up to ``max_batch`` images its tensors and
    its work are within ``limits_of``.

    Args:
        data_bytes: Size of the file beside the model, whose hash the manifest gives; None if it
        names none.

    Raises:
        ArtifactError: Saying in one line what is wrong.
    """
    config = manifest.source.config
    try:
        graph = graph_of_model(memoryview(data), max_nodes=max_nodes(config))
        # Parsers look for it in the folder of the model, which need not be that of the manifest.
        location = f"{PurePosixPath(manifest.model).name}.data"
        _check_tensors(graph.tensors, location=location, data_bytes=data_bytes)
        _check_weights(graph.tensors, config)
        # No side falls as the batch grows (``operators._constants``): what the largest batch takes
        # bounds all others.
        _check_shapes(
            graph, _Walk(limits_of(config, batch=manifest.max_batch), batch=manifest.max_batch)
        )
    except ArtifactError as error:
        raise ArtifactError(
            f"{manifest.model} is not opened: {error}; build the artifact again"
        ) from error


class _Walk:
    """Shapes of the values so far, and what they take."""

    def __init__(self, limits: Limits, *, batch: int) -> None:
        self.values: dict[str, Value] = {}
        self.batch = batch
        self._limits = limits
        self._live = 0
        self._multiplications = 0

    def define(self, name: str, value: Value) -> None:
        """Adds a value under a name that is free."""
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
        """Adds what a node takes; its outputs live until ``release``."""
        self._multiplications += result.multiplications
        self._live += sum(value.elements for value in result.outputs)
        if result.inside > self._limits.elements or self._live > self._limits.live:
            raise ArtifactError(
                f"{node.operator} takes more memory than a model of its configuration"
            )
        if self._multiplications > self._limits.multiplications:
            raise ArtifactError("the graph computes more than a model of its configuration")

    def release(self, names: Iterable[str]) -> None:
        """Takes the memory of values back that nothing reads any more."""
        self._live -= sum(self.values[name].elements for name in names)


def _check_tensors(tensors: Iterable[Tensor], *, location: str, data_bytes: int | None) -> None:
    """Returns when all external data is in the one file that was hashed, and no byte of it is given out twice."""
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
    """Returns when the model holds its weights: what it may take follows from how large it says it is."""
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
    """The input's shape for one batch size; other free sides stay unknown."""
    if not declared.dims:
        raise ArtifactError(f"the input {declared.name[:80]!r} has no shape")
    first, *others = declared.dims
    return (batch if first is None else first, *others)


def _constant(tensor: Tensor) -> Value:
    short = tensor.dtype == _INT64 and len(tensor.dims) == 1 and tensor.dims[0] <= LONGEST_SHAPE
    if not short or tensor.external is not None:
        return Value(tensor.dims)
    return Value(
        tensor.dims,
        tuple(int(number) for number in np.frombuffer(tensor.raw, "<i8")),
        is_constant=True,
    )


def _input(walk: _Walk, name: str) -> Value | None:
    if not name:
        return None
    if name not in walk.values:
        raise ArtifactError(f"a node reads {name[:80]!r}, which nothing before it gives")
    return walk.values[name]


def _last_uses(graph: Graph) -> dict[int, list[str]]:
    """By the index of a node, the results of nodes that nothing after it reads."""
    given = {name: index for index, node in enumerate(graph.nodes) for name in node.outputs}
    last = dict(given)
    for index, node in enumerate(graph.nodes):
        last.update((name, index) for name in node.inputs if name in given)
    kept = {declared.name for declared in graph.outputs}
    uses: dict[int, list[str]] = {}
    for name, index in last.items():
        if name not in kept:
            uses.setdefault(index, []).append(name)
    return uses


def _check_declared(declared: Declared, values: dict[str, Value]) -> None:
    """Returns when a shape that the file gives is that of the value: parsers make room by what they are told."""
    if declared.name not in values:
        raise ArtifactError(f"the graph describes {declared.name[:80]!r}, which it does not have")
    dims = values[declared.name].dims
    given = declared.dims if declared.dims is not None else (None,) * len(dims)
    if len(given) != len(dims) or any(
        side not in (None, real) for side, real in zip(given, dims, strict=True)
    ):
        raise ArtifactError(
            f"the graph gives {declared.name[:80]!r} another shape than its nodes do"
        )
