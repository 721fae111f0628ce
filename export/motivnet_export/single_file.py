"""An ONNX file alone, without an artifact around it."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from motivnet.artifact.manifest import GraphSummary
from motivnet.errors import FileError
from motivnet.files import atomic_path
from motivnet.path_kind import is_folder, kind_of
from motivnet.terminal import progress
from motivnet_export.graph import (
    EXTERNAL_DATA_THRESHOLD,
    check_onnx,
    save_onnx,
    summarise,
    weight_bytes,
)
from motivnet_export.precision import apply_precision
from motivnet_export.request import BuildRequest
from motivnet_export.source import model_source
from motivnet_export.torch_to_onnx import onnx_from_model


def export_file(request: BuildRequest, out: Path | None) -> tuple[tuple[Path, ...], GraphSummary]:
    """Write a checked ONNX file to ``out``; its outputs are not compared with PyTorch's.

    The files are returned, the graph and then its weights above 2 GB, with the graph's counts. The
    weights appear before the graph does, and an existing pair is not replaced: two files cannot
    appear in one step.

    Raises:
        FileError: If ``out`` is in the way of a pair, or cannot be written.
        MotivNetError: As ``build_artifact``.
    """
    source = model_source(
        request.checkpoint,
        model=request.model,
        preprocess=request.preprocess,
        image_size=request.image_size,
        ema=request.ema,
    )
    out = out or Path(f"{source.name}.onnx")
    if is_folder(out):
        raise FileError(f"{out} is a directory; give a file that ends in .onnx")
    model = source.load()
    apply_precision(model, request.precision)
    with progress(f"exporting {request.precision}"):
        graph = onnx_from_model(
            model,
            attention=request.attention_forms(request.precision)[0],
            input_dtype=request.input_dtype,
            any_size=request.any_size,
            preprocessing=source.preprocessing,
        )
        summary = summarise(graph)
        del model
        return _write(graph, out), summary


def _write(graph: ir.Model, out: Path) -> tuple[Path, ...]:
    data = out.with_name(f"{out.name}.data")
    external = weight_bytes(graph) > EXTERNAL_DATA_THRESHOLD
    if external and any(map(kind_of, (out, data))):
        raise FileError(
            f"{out} or {data.name} exists and two files cannot be replaced in one step; remove "
            "them first"
        )
    with atomic_path(out) as temporary:
        files = save_onnx(graph, temporary)
        check_onnx(temporary)
        if not external:
            return (out,)
        with atomic_path(data) as temporary_data:
            files[1].replace(temporary_data)
    return out, data
