"""INT8 and FP8: Q/DQ pairs around the linear layers of the encoder, placed by ModelOpt.

The rest of the FP16 graph stays as it is. Head and patches are under 2% of the operations, and
quantising the head alone costs about as much accuracy as all of the encoder. The weights stay FP16,
behind Q/DQ pairs: from INT8, TensorRT-RTX 1.7.1 silently computes query, key and value in FP16.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import onnx_ir as ir
from numpy.typing import NDArray

from motivnet.array_files import write_npy
from motivnet.errors import ExportError
from motivnet.terminal import progress
from motivnet_export.graph import (
    EXTERNAL_DATA_THRESHOLD,
    check_onnx,
    product_dtypes,
    save_onnx,
    weight_bytes,
)
from motivnet_export.quantise.child import Answer, describe_end, run_quantiser
from motivnet_export.quantise.modelopt_environment import VARIABLE, ModelOptPython, modelopt_python

QuantisedPrecision = Literal["int8", "fp8"]

GRAPH_DTYPES: dict[QuantisedPrecision, str] = {"int8": "int8", "fp8": "float8e4m3fn"}

METADATA_KEY = "quantised by"
"""In the graph's metadata: the tool that placed the Q/DQ pairs, and the number of images."""

_SCRIPT = Path(__file__).with_name("modelopt_child.py")


def quantise_onnx(
    graph: ir.Model,
    target: Path,
    *,
    precision: QuantisedPrecision,
    images: NDArray[Any],
    on_message: Callable[[str], None],
) -> tuple[Path, ...]:
    """Write a graph with Q/DQ pairs to ``target``, weights above 2 GB beside it; return the files.

    Args:
        graph: One of this toolkit's, in FP16.
        images: Inputs of the graph, ``(N, 3, H, W)`` or pixels ``(N, H, W, 3)``; the ranges of the
            activations are the largest on them.
        on_message: Called before ModelOpt is installed.

    Raises:
        ExportError: If ModelOpt cannot be installed, fails, or leaves out a layer of the encoder.
    """
    python = modelopt_python(on_message)
    nodes = encoder_products(graph)
    with tempfile.TemporaryDirectory(prefix=".quantise.", dir=target.parent) as folder:
        scratch = Path(folder).absolute()
        source, quantised_file = scratch / "base.onnx", scratch / "quantised.onnx"
        save_onnx(graph, source)
        write_npy(scratch / "images.npy", images)
        job = {
            "mode": precision,
            "source": str(source),  # ModelOpt writes the shapes that it infers into this file
            "target": str(quantised_file),
            "input": graph.graph.inputs[0].name,
            "images": str(scratch / "images.npy"),
            "nodes": [f"^{re.escape(name)}$" for name in nodes],  # taken as regular expressions
            # ModelOpt holds the graph and its copy with Q/DQ pairs in one protobuf message each.
            "external_data": weight_bytes(graph) > EXTERNAL_DATA_THRESHOLD // 2,
            "borrowed": python.borrowed,
        }
        with progress(f"quantising to {precision} on {len(images)} images"):
            version = _run(python, job, scratch)
            quantised = ir.load(quantised_file)
            found = product_dtypes(quantised)[GRAPH_DTYPES[precision]]
            if found != len(nodes):
                raise ExportError(
                    f"nvidia-modelopt quantised {found} of the encoder's {len(nodes)} linear "
                    "layers; use --fp16"
                )
            made_by = f"nvidia-modelopt {version}, {len(images)} images"
            quantised.metadata_props[METADATA_KEY] = made_by
            files = save_onnx(quantised, target)
        check_onnx(target)
    return files


def encoder_products(model: ir.Model) -> tuple[str, ...]:
    """Return the names of the linear layers that the embedding depends on: those of the encoder.

    Raises:
        ExportError: If there is none, or their names are not unique: the graph is not one of this
            toolkit's.
    """
    embedding = next((value for value in model.graph.outputs if value.name == "embedding"), None)
    names = [str(node.name) for node in _ancestors(embedding) if _is_linear(node)]
    if not names or len(set(names)) < len(names) or not all(node.name for node in model.graph):
        raise ExportError(
            "the graph has no linear layers that can be quantised by name; export it with this "
            "toolkit"
        )
    return tuple(sorted(names))


def _ancestors(value: ir.Value | None) -> set[ir.Node]:
    """Return every node that a value is computed by, directly or not."""
    found: set[ir.Node] = set()
    waiting = [value]
    while waiting:
        current = waiting.pop()
        node = current.producer() if current is not None else None
        if node is not None and node not in found:
            found.add(node)
            waiting.extend(node.inputs)
    return found


def _is_linear(node: ir.Node) -> bool:
    weight = node.inputs[1] if node.op_type == "MatMul" else None
    return weight is not None and weight.is_initializer()


def _run(python: ModelOptPython, job: dict[str, Any], scratch: Path) -> str:
    """Run ModelOpt in a child process; return its version."""
    answer = run_quantiser(
        # Isolated also from the script's own folder, whose modules are this toolkit's.
        [python.executable, "-I", _SCRIPT],
        job,
        folder=scratch,
        # ModelOpt leaves copies of the graph in the temporary folder if it fails.
        environment={**os.environ, "TMPDIR": str(scratch)},
    )
    if answer.version is None:
        raise ExportError(_describe_failure(answer, python))
    return answer.version


def _describe_failure(answer: Answer, python: ModelOptPython) -> str:
    """Return one line on a process that wrote no graph, with ModelOpt's message if there is one."""
    if answer.error.startswith(("ModuleNotFoundError", "ImportError")):
        remedy = f"give another {VARIABLE}"
        if python.borrowed:
            remedy = f"remove {python.executable.parents[1]}"
        return (
            f"{python.executable} cannot import nvidia-modelopt: {answer.error}; {remedy} and try "
            "again"
        )
    if answer.error:
        return f"nvidia-modelopt could not quantise the graph: {answer.error}"
    return describe_end(answer.process, unlike="[modelopt][onnx]")
