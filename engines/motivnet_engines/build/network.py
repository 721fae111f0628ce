"""An ONNX file as a network definition with a profile; what the parser ignores is an error here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from motivnet.artifact.manifest import Manifest
from motivnet.artifact.onnx_graph import with_attribute
from motivnet.errors import ArtifactError, EngineError
from motivnet.parity import AttentionForm
from motivnet.printable import one_line
from motivnet.runtime import TensorSpec
from motivnet_engines.runtimes.signature import check_graph
from motivnet_engines.runtimes.tensorrt.api import DTYPES, Api
from motivnet_engines.runtimes.tensorrt.log import logger_of, tail_of

Shape = tuple[int, ...]
_Parsed = tuple[Any, Any]

_DECOMPOSABLE = "TRT_decomposable"
"""An attribute of ``Attention`` that TensorRT's parser reads and ONNX does not know.

https://github.com/onnx/onnx-tensorrt, the importer of Attention.
"""


def parse_network(api: Api, builder: Any, onnx: Path, *, attention: AttentionForm) -> _Parsed:
    """Return the strongly typed network of an ONNX file, in which the builder chooses no precision.

    With it comes the parser, which owns the network's weights until the engine is built.

    A file with decomposed attention is parsed by name and not from memory, because the weights of
    a graph above 2 GB are in another file beside it. Of fused attention the parser gets a copy in
    which each operator may be decomposed; without that, TensorRT refuses the whole network for one
    head size that it has no kernel for.

    Raises:
        EngineError: If the parser refuses it, with its message for every node, or it has no graph.
    """
    logger = logger_of(api)
    flags = 1 << int(api.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = api.trt.OnnxParser(network, logger)
    # TensorRT takes only Unicode paths. The folder's name may be something else; the file's is not.
    with _working_directory(onnx.parent):
        data = _decomposable(onnx) if attention == "fused" else None
        parsed = parser.parse(data, onnx.name) if data else parser.parse_from_file(onnx.name)
        del data  # the engine is built without this copy of the weights
    problems = tuple(_problem(parser.get_error(index)) for index in range(parser.num_errors))
    if not parsed or problems:
        raise EngineError(
            f"{onnx.name} was refused by TensorRT's parser: "
            f"{problems[0] if problems else 'it gives no reason'}",
            problems=problems,
            log=tail_of(logger.lines),
        )
    if network.num_layers == 0:
        raise EngineError(
            f"{onnx.name} is no ONNX graph, or an empty one: TensorRT found no layer in it",
            log=tail_of(logger.lines),
        )
    return network, parser


def check_network(network: Any, manifest: Manifest) -> None:
    """Check that a network has exactly the inputs and outputs that the manifest promises.

    Raises:
        EngineError: Naming the first difference.
    """
    outputs = tuple(_spec(network.get_output(index)) for index in range(network.num_outputs))
    try:
        check_graph(manifest, inputs=_input_specs(network), outputs=outputs)
    except ArtifactError as error:
        raise EngineError(f"as TensorRT parsed it, {error}") from error


def add_profile(builder: Any, config: Any, network: Any, shapes: Sequence[Shape]) -> None:
    """Add the profile of a network's one input: its smallest, best and largest shape.

    Raises:
        EngineError: If a shape does not fit the input, which TensorRT does not check, or TensorRT
            refuses the profile.
    """
    (spec,) = _input_specs(network)
    for shape in shapes:
        if not _fits(shape, spec.shape):
            raise EngineError(
                f"the profile gives {spec.name!r} the shape {shape}, but the network has {spec}"
            )
    smallest, best, largest = shapes
    profile = builder.create_optimization_profile()
    profile.set_shape(spec.name, smallest, best, largest)
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(f"TensorRT refuses the profile {list(shapes)} of {spec.name!r}")


@contextlib.contextmanager
def _working_directory(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _decomposable(onnx: Path) -> bytes | None:
    """Return a copy of a graph whose attentions may be decomposed; None if it is no graph.

    What is wrong with the file is then the parser's to say.
    """
    data: Any = np.memmap(onnx, np.uint8, "r") if onnx.stat().st_size else b""
    try:
        return with_attribute(memoryview(data), operator="Attention", name=_DECOMPOSABLE, value=1)
    except ArtifactError:
        return None


def _fits(shape: Shape, expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(
        side is None or side == given for given, side in zip(shape, expected, strict=True)
    )


def _input_specs(network: Any) -> tuple[TensorSpec, ...]:
    return tuple(_spec(network.get_input(index)) for index in range(network.num_inputs))


def _spec(tensor: Any) -> TensorSpec:
    shape = tuple(None if side < 0 else int(side) for side in tensor.shape)
    return TensorSpec(
        name=tensor.name, dtype=DTYPES.get(tensor.dtype.name, tensor.dtype.name), shape=shape
    )


def _problem(error: Any) -> str:
    """Return one line: the operator and the node, the parser's message, and its code."""
    operator, node = _text(error.node_operator), _text(error.node_name)
    where = f"{operator or 'operator'} node {node!r}: " if operator or node else ""
    return f"{where}{_text(error.desc)} ({error.code().name})"


def _text(call: Callable[[], str]) -> str:
    """Return one line of text; the names in a damaged file need not be Unicode."""
    try:
        text = call()
    except UnicodeDecodeError as error:
        text = error.object.decode(errors="replace")
    return one_line(text)
