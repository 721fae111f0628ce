"""A model's graph on disk, quantised where the precision asks for it, checked and counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import onnx_ir as ir
from numpy.typing import NDArray

from motivnet.artifact.manifest import AttentionForm, GraphSummary, InputEntry, Precision
from motivnet.model import MotivNet
from motivnet_engines.runtimes.inputs import input_from_pixels
from motivnet_export.parity_images import calibration_images, is_large
from motivnet_export.request import BuildRequest
from motivnet_export.source import ModelSource
from motivnet_export.torch_to_onnx import (
    INPUT_NAME,
    check_onnx,
    onnx_from_model,
    save_onnx,
    summary_of,
)

CALIBRATION_IMAGES, CALIBRATION_IMAGES_OF_LARGE = 64, 8
"""The most images that the ranges of INT8 and FP8 are measured on; a large model takes minutes for each."""


def write_graph(
    model: MotivNet,
    path: Path,
    *,
    source: ModelSource,
    request: BuildRequest,
    precision: Precision,
    attention: AttentionForm,
    announce: Callable[[str], None],
) -> tuple[tuple[Path, ...], GraphSummary]:
    """The files of the graph (its weights beside it above 2 GB), which ONNX's checker accepts, and
    their counts.

    Args:
        model: In the precision already; in INT8 and FP8 in that which quantisation starts from.

    Raises:
        ExportError: If PyTorch cannot export the model, or it cannot be quantised.
    """
    graph = onnx_from_model(
        model,
        attention=attention,
        input_dtype=request.input_dtype,
        any_size=request.any_size,
        recipe=source.recipe,
    )
    if precision == "int8" or precision == "fp8":  # noqa: PLR1714 - a type checker narrows only comparisons
        return _quantised(
            graph, path, source=source, request=request, precision=precision, announce=announce
        )
    files = save_onnx(graph, path)
    check_onnx(path)
    return files, summary_of(graph)


def _quantised(
    graph: ir.Model,
    path: Path,
    *,
    source: ModelSource,
    request: BuildRequest,
    precision: Literal["int8", "fp8"],
    announce: Callable[[str], None],
) -> tuple[tuple[Path, ...], GraphSummary]:
    """The graph with quantisation written into it; what it was made from does not stay."""
    from motivnet_export.quantise.quantise import quantise_onnx

    base = path.with_name(f"base.{path.name}")
    unquantised = save_onnx(graph, base)
    files = quantise_onnx(
        base,
        path,
        precision=precision,
        images=_calibration_inputs(source, request),
        announce=announce,
    )
    for file in unquantised:
        file.unlink()
    check_onnx(path)
    return files, summary_of(ir.load(path))


def _calibration_inputs(source: ModelSource, request: BuildRequest) -> NDArray[Any]:
    """What the graph's input is given: the user's images, or drawn faces."""
    images = calibration_images(
        source.config,
        source.recipe,
        folder=request.calibration,
        count=CALIBRATION_IMAGES_OF_LARGE if is_large(source.config) else CALIBRATION_IMAGES,
        judges=request.parity_images,
    )
    entry = InputEntry(
        name=INPUT_NAME, dtype=request.input_dtype, recipe=source.recipe, any_size=request.any_size
    )
    return input_from_pixels(entry, images.pixels)
