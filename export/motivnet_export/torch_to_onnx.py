"""From the PyTorch model to an ONNX graph, and the graph to disk."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes import common

from motivnet import __version__
from motivnet.artifact.manifest import AttentionForm, GraphSummary, InputDtype
from motivnet.errors import ExportError
from motivnet.model import MotivNet
from motivnet.preprocess import InputRecipe
from motivnet_export.attention import TRANSLATIONS
from motivnet_export.deployed import RESIZE_TRANSLATION, DeployedModel
from motivnet_export.graph_dtypes import dtype_name, product_dtypes
from motivnet_export.passes import FoldConstantsPass, JoinAttentionHeadsPass

INPUT_NAME = "image"
OUTPUT_NAMES = ("logits", "embedding")
FUSED_OPSET = 23
"""The first with the ``Attention`` operator."""

DECOMPOSED_OPSET = 20
"""The newest that TensorRT 10.3 parses whole."""

BF16_OPSET = 22
"""The first whose ``Conv`` takes BF16."""

EXTERNAL_DATA_THRESHOLD = 2_000_000_000
"""Bytes of weights from which they go into a file of their own; a protobuf message ends at 2 GiB."""


def onnx_from_model(
    model: MotivNet,
    *,
    attention: AttentionForm,
    input_dtype: InputDtype,
    recipe: InputRecipe,
    any_size: bool = False,
) -> ir.Model:
    """The ONNX graph of a model, with a free batch and whatever does not depend on the input
    computed.

    Args:
        model: In evaluation mode; the types of its weights are the precision of the graph.
        attention: ``fused`` (the ``Attention`` operator) or ``decomposed`` (matrix products and a
        softmax).
        input_dtype: ``float32`` takes ``(B, 3, H, W)`` as the recipe gives it, ``uint8`` takes
        pixels ``(B, H, W, 3)``.
        recipe: Its size is the image size, its mean and std normalise pixels.
        any_size: Pixels have any height and width, and the graph resizes them by the recipe.

    Raises:
        ExportError: If PyTorch cannot export the model.
    """
    deployed = DeployedModel(
        model, input_dtype=input_dtype, any_size=any_size, recipe=recipe
    ).eval()
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                deployed,
                (deployed.example(recipe.size),),
                dynamo=True,
                opset_version=_opset(model, attention),
                input_names=[INPUT_NAME],
                output_names=list(OUTPUT_NAMES),
                dynamic_shapes=(
                    {axis: torch.export.Dim(name) for axis, name in deployed.free_axes().items()},
                ),
                custom_translation_table={**(TRANSLATIONS[attention] or {}), **RESIZE_TRANSLATION},
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        if _was_interrupted(error):
            raise KeyboardInterrupt from error
        raise ExportError(
            f"PyTorch could not export the model: {str(error).splitlines()[0]}"
        ) from error
    if program is None:
        raise ExportError("PyTorch's exporter gave no graph")
    return _cleaned(program.model)


def save_onnx(model: ir.Model, path: Path) -> tuple[Path, ...]:
    """Writes a graph to ``path``, its weights beside it where they are above 2 GB; the files that were written."""
    if weight_bytes(model) <= EXTERNAL_DATA_THRESHOLD:
        ir.save(model, path)
        return (path,)
    data = path.with_name(f"{path.name}.data")
    ir.save(model, path, external_data=data.name)
    return path, data


def check_onnx(path: Path) -> None:
    """Returns when ONNX's own checker accepts the file, shapes and types included.

    Raises:
        ExportError: With the checker's first line.
    """
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            f"the exported graph is not valid ONNX: {str(error).splitlines()[0]}"
        ) from error


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all initialisers."""
    return sum(_weight_bytes_by_dtype(model).values())


def summary_of(model: ir.Model) -> GraphSummary:
    """What is in a graph: counts that show its precision and its form of attention."""
    return GraphSummary(
        opset=model.graph.opset_imports[""],
        nodes=sum(1 for _ in model.graph.all_nodes()),
        attention_nodes=sum(node.op_type == "Attention" for node in model.graph.all_nodes()),
        compute_nodes=dict(sorted(product_dtypes(model).items())),
        weight_bytes=dict(sorted(_weight_bytes_by_dtype(model).items())),
    )


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is at the root of an error: the exporter wraps whatever stops it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _opset(model: MotivNet, attention: AttentionForm) -> int:
    if attention == "fused":
        return FUSED_OPSET
    is_bf16 = model.encoder.patch_embed.projection.weight.dtype == torch.bfloat16
    return BF16_OPSET if is_bf16 else DECOMPOSED_OPSET


def _weight_bytes_by_dtype(model: ir.Model) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            sizes[dtype_name(value)] += value.const_value.nbytes
    return sizes


def _cleaned(model: ir.Model) -> ir.Model:
    passes: Sequence[ir.passes.PassBase] = (
        FoldConstantsPass(),
        JoinAttentionHeadsPass(),
        common.RemoveUnusedNodesPass(),
        common.ClearMetadataAndDocStringPass(),
        common.RemoveUnusedOpsetsPass(),
    )
    result = ir.passes.Sequential(*passes)(model)
    result.model.producer_name, result.model.producer_version = "motivnet", __version__
    result.model.metadata_props.clear()
    return result.model


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silences what the exporter says of itself: missing torchvision, its own deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    folding = logging.getLogger("onnxscript.optimizer")
    levels = logger.level, folding.level
    logger.setLevel(logging.ERROR)
    folding.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(levels[0])
        folding.setLevel(levels[1])
