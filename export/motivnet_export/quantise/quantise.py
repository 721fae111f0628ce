"""INT8 and FP8: Q/DQ pairs around the linear layers of the encoder, calibrated on images, written
by ModelOpt.

What is quantised is the graph in FP16. The residual stream and every LayerNorm stay in FP32, and
attention stays as it is, in FP16. So do the head and the convolution of the patches: they are under
2% of the operations of the published sizes, and quantising the head alone costs about as much
accuracy as all of the encoder does. The weights stay FP16 in the file, behind a pair of their own:
where they are stored as INT8, TensorRT-RTX 1.7.1 computes the projection of query, key and value in
FP16, without a word.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from motivnet.child_process import run_to_end
from motivnet.errors import ExportError
from motivnet.progress import progress
from motivnet_export.graph_dtypes import product_dtypes
from motivnet_export.quantise.modelopt_environment import VARIABLE, ModelOptPython, modelopt_python
from motivnet_export.torch_to_onnx import (
    EXTERNAL_DATA_THRESHOLD,
    OUTPUT_NAMES,
    check_onnx,
    save_onnx,
    weight_bytes,
)

QuantisedPrecision = Literal["int8", "fp8"]

GRAPH_DTYPES: dict[QuantisedPrecision, str] = {"int8": "int8", "fp8": "float8e4m3fn"}

METADATA_KEY = "quantised by"
"""In the graph's own metadata: the tool that placed the Q/DQ pairs, and on how many images."""

_SCRIPT = Path(__file__).with_name("modelopt_child.py")
_EMBEDDING = OUTPUT_NAMES[1]
_MODELOPT_NOISE = "[modelopt][onnx]"


def quantise_onnx(
    source: Path,
    target: Path,
    *,
    precision: QuantisedPrecision,
    images: NDArray[Any],
    announce: Callable[[str], None],
) -> tuple[Path, ...]:
    """Writes ``source`` with Q/DQ pairs to ``target``; the files that were written, with weights
    beside above 2 GB.

    Args:
        source: A graph of ours in FP16, of which nothing else is expected: ModelOpt writes the
            shapes that it infers into this very file.
        images: What the graph's input is given, ``(N, 3, H, W)`` or pixels ``(N, H, W, 3)``; the
            ranges of the activations are the largest seen on them.
        announce: Hears that ModelOpt is about to be installed.

    Raises:
        ExportError: If ModelOpt cannot be had, fails, or leaves a layer of the encoder as it was.
    """
    _check_images(images)
    python = modelopt_python(announce)
    graph = ir.load(source)
    nodes = encoder_products(graph)
    with tempfile.TemporaryDirectory(prefix=".quantise.", dir=target.parent) as scratch:
        quantised_file = Path(scratch, "quantised.onnx").absolute()
        job = {
            "mode": precision,
            "source": str(source.absolute()),
            "target": str(quantised_file),
            "input": graph.graph.inputs[0].name,
            "nodes": [
                f"^{re.escape(name)}$" for name in nodes
            ],  # ModelOpt takes regular expressions
            # ModelOpt holds the graph and its copy with Q/DQ pairs in one protobuf message each.
            "external_data": weight_bytes(graph) > EXTERNAL_DATA_THRESHOLD // 2,
        }
        with progress(f"quantising to {precision} on {len(images)} images"):
            version = _run(python, job, images, Path(scratch).absolute())
            quantised = ir.load(quantised_file)
            _check_products(quantised, precision, wanted=len(nodes))
            quantised.metadata_props[METADATA_KEY] = (
                f"nvidia-modelopt {version}, {len(images)} images"
            )
            files = save_onnx(quantised, target)
        check_onnx(target)
    return files


def encoder_products(model: ir.Model) -> tuple[str, ...]:
    """Names of the products with weights that the embedding depends on: the linear layers of the
    encoder.

    Raises:
        ExportError: If there is none, or their names do not tell them apart; the graph is not one
        of ours.
    """
    embedding = next((value for value in model.graph.outputs if value.name == _EMBEDDING), None)
    names = [str(node.name) for node in _ancestors(embedding) if _is_linear(node)]
    if not names or len(set(names)) < len(names) or not all(node.name for node in model.graph):
        raise ExportError(
            "the graph has no linear layers that can be quantised by name; export it with this toolkit"
        )
    return tuple(sorted(names))


def _ancestors(value: ir.Value | None) -> set[ir.Node]:
    """Every node that a value is computed by, directly or not."""
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


def _check_images(images: NDArray[Any]) -> None:
    if not len(images):
        raise ExportError(
            "quantisation is calibrated on images and there is none; give a folder with --calibration"
        )
    if images.dtype not in (np.float32, np.uint8):
        raise ExportError(
            f"the images to calibrate on should be float32 or uint8, not {images.dtype}"
        )


def _run(python: ModelOptPython, job: dict[str, Any], images: NDArray[Any], scratch: Path) -> str:
    """Does a job in a process of its own; the version of ModelOpt that did it."""
    np.save(scratch / "images.npy", images)
    answer = scratch / "answer.json"
    whole = {
        **job,
        "images": str(scratch / "images.npy"),
        "answer": str(answer),
        "borrowed": python.borrowed,
    }
    (scratch / "job.json").write_text(json.dumps(whole), encoding="utf-8")
    done = run_to_end(
        # Isolated also from the script's own folder: in it, onnx is a module of ours.
        [python.executable, "-I", _SCRIPT, scratch / "job.json"],
        folder=scratch,
        environment={
            **os.environ,
            "TMPDIR": str(scratch),
        },  # ModelOpt leaves copies of the graph behind where it fails
    )
    answered: dict[str, str] = (
        json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else {}
    )
    if "modelopt" not in answered:
        raise ExportError(_failure(answered.get("error"), done, python))
    return answered["modelopt"]


def _failure(
    error: str | None, done: subprocess.CompletedProcess[str], python: ModelOptPython
) -> str:
    """One line on a process that gave no graph, in ModelOpt's words where it had any."""
    if error and error.startswith(("ModuleNotFoundError", "ImportError")):
        where = (
            f"give another {VARIABLE}"
            if not python.borrowed
            else f"remove {python.executable.parents[1]}"
        )
        return f"{python.executable} cannot import nvidia-modelopt: {_first_line(error)}; {where} and try again"
    if error:
        return f"nvidia-modelopt could not quantise the graph: {_first_line(error)}"
    if done.returncode == -signal.SIGKILL:
        return "the process that quantises was killed, most likely for its memory; close programs or use --fp16"
    lines = [
        line for line in done.stderr.splitlines() if line.strip() and _MODELOPT_NOISE not in line
    ]
    last = f": {lines[-1].strip()}" if lines else ""
    return f"the process that quantises ended with {done.returncode}{last}"


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _check_products(model: ir.Model, precision: QuantisedPrecision, *, wanted: int) -> None:
    found = product_dtypes(model)[GRAPH_DTYPES[precision]]
    if found != wanted:
        raise ExportError(
            f"nvidia-modelopt quantised {found} of the encoder's {wanted} linear layers; use --fp16"
        )
