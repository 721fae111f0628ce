"""INT8 for OpenVINO on a CPU: Q/DQ pairs around the linear layers of the encoder, placed by NNCF.

Attention, head and patches stay in the graph's dtype: OpenVINO computes an attention in one layer
only if none of its operands is quantised, and the others are under 2% of the operations.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from motivnet.array_files import write_npy
from motivnet.child_process import isolated_module
from motivnet.dependencies import is_installed
from motivnet.errors import ExportError, MissingDependencyError
from motivnet.terminal import progress
from motivnet_engines.system.machine import multiplies_int8, read_machine, read_processor
from motivnet_export.graph import (
    EXTERNAL_DATA_THRESHOLD,
    PRODUCTS,
    check_onnx,
    product_dtypes,
    save_onnx,
    weight_bytes,
)
from motivnet_export.quantise.child import Answer, describe_end, run_quantiser
from motivnet_export.quantise.quantise import METADATA_KEY, encoder_products

_WORKER = "motivnet_export.quantise.nncf_worker"

_MEMORY_FACTOR = {False: 9, True: 13}
"""Peak memory by the bytes of the weights, without and with SmoothQuant: NNCF 3.4 used 11.2 and
16.0 GB for the 1.29 GB of sapiens-0.3b at 256x192."""


def check_int8_pays() -> None:
    """Check that INT8 can be faster than FP32 on this processor, and that NNCF is here.

    Raises:
        ExportError: If the processor has no instructions for it; with what to do instead.
        MissingDependencyError: If a package is missing.
    """
    if not multiplies_int8():
        raise ExportError(
            f"{read_processor().name} has no instructions for INT8 products (VNNI, AMX, or Arm's "
            "dot products), without which INT8 gains nothing (0.96 to 1.03x of FP32, measured); "
            "use FP32 at a smaller --image-size"
        )
    for package, extra in (("openvino", "cpu"), ("nncf", "int8-cpu")):
        if not is_installed(package):
            raise MissingDependencyError(package, extra=extra)


def quantise_for_openvino(
    graph: ir.Model,
    target: Path,
    *,
    images: NDArray[Any],
    smooth_quant: bool = False,
    everything: bool = False,
) -> str:
    """Write a graph with Q/DQ pairs to ``target``; return the name and version of NNCF.

    Args:
        graph: One of this toolkit's, in FP32.
        images: Inputs of the graph, ``(N, 3, H, W)`` or pixels ``(N, H, W, 3)``, on which the
            ranges are measured.
        smooth_quant: Whether outliers of activations are moved into the weights first
            (SmoothQuant, arXiv 2211.10438).
        everything: Whether NNCF may quantise whatever it chooses, attention included. For the
            benchmark and the tests of what that costs.

    Raises:
        ExportError: If the graph is too large, too little memory is free, or NNCF fails or leaves
            out a layer of the encoder.
    """
    if weight_bytes(graph) > EXTERNAL_DATA_THRESHOLD:
        raise ExportError(
            f"the FP32 weights have {weight_bytes(graph) / 1e9:.1f} GB, and NNCF quantises ONNX "
            "graphs of up to 2 GB; use --precision bf16"
        )
    _check_memory(weight_bytes(graph), smooth_quant=smooth_quant)
    wanted = set(encoder_products(graph))
    products = [str(node.name) for node in graph.graph if node.op_type in PRODUCTS]
    variant = "with" if smooth_quant else "without"
    with tempfile.TemporaryDirectory(prefix=".quantise.", dir=target.parent) as folder:
        scratch = Path(folder).absolute()
        source, written = scratch / "base.onnx", scratch / "quantised.onnx"
        save_onnx(graph, source)
        write_npy(scratch / "images.npy", images)
        job = {
            "source": str(source),
            "target": str(written),
            "input": graph.graph.inputs[0].name,
            "images": str(scratch / "images.npy"),
            "left_out": [] if everything else sorted(set(products) - wanted),
            "smooth_quant": smooth_quant,
        }
        with progress(f"quantising to int8 on {len(images)} images, {variant} SmoothQuant"):
            answer = run_quantiser(isolated_module(_WORKER), job, folder=scratch)
            if answer.version is None:
                raise ExportError(_describe_failure(answer))
            quantised = _as_we_write(ir.load(written))
            found = product_dtypes(quantised)["int8"]
            if found != len(wanted) and not everything:
                raise ExportError(
                    f"nncf quantised {found} of the encoder's {len(wanted)} linear layers; use "
                    "--fp16"
                )
            tool = f"nncf {answer.version}"
            quantised.metadata_props[METADATA_KEY] = f"{tool}, {len(images)} images"
            save_onnx(quantised, target)
        check_onnx(target)
    return tool


def _check_memory(weights: int, *, smooth_quant: bool) -> None:
    """Check that NNCF will not run out of memory, for which the system may end other processes."""
    wanted, free = weights * _MEMORY_FACTOR[smooth_quant], read_machine().memory_available
    if free is not None and wanted > free:
        raise ExportError(
            f"quantising takes about {wanted / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are "
            "free; close programs, or use --precision bf16"
        )


def _as_we_write(model: ir.Model) -> ir.Model:
    """Return the model with every tensor as raw bytes, and without those that nothing reads.

    NNCF writes scales as lists of floats, which the check of a strange graph does not take.
    """
    common.RemoveUnusedNodesPass()(model)
    for value in model.graph.initializers.values():
        if (tensor := value.const_value) is not None:
            value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=tensor.name)
    return model


def _describe_failure(answer: Answer) -> str:
    if answer.error:
        return f"nncf could not quantise the graph: {answer.error}"
    return describe_end(answer.process, unlike="INFO:nncf")
