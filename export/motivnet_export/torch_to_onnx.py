"""From the PyTorch model to an ONNX graph."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import onnx_ir as ir
import torch
from onnx_ir.passes import common
from onnxscript import opset20
from torch import Tensor, nn
from torch.nn import functional

from motivnet import __version__
from motivnet.artifact.manifest import InputDtype
from motivnet.errors import ExportError
from motivnet.model import MotivNet
from motivnet.parity import AttentionForm
from motivnet.preprocess import WHITE, Preprocessing
from motivnet_export.passes import (
    FoldConstantsPass,
    JoinAttentionHeadsPass,
    ReadShapeOfFloatsPass,
)

INPUT_NAME = "image"
OUTPUT_NAMES = ("logits", "embedding")

_op: Any = opset20  # its operators are typed for ONNX Script functions, not for tracing


def onnx_from_model(
    model: MotivNet,
    *,
    attention: AttentionForm,
    input_dtype: InputDtype,
    preprocessing: Preprocessing,
    any_size: bool = False,
) -> ir.Model:
    """Return the ONNX graph of a model, with a free batch size and constants folded.

    Args:
        model: In evaluation mode; the dtypes of its weights are the precision of the graph.
        attention: ``fused`` (the ``Attention`` operator) or ``decomposed`` (matrix products and a
            softmax).
        input_dtype: ``float32`` for preprocessed images ``(B, 3, H, W)``, ``uint8`` for pixels
            ``(B, H, W, 3)``.
        preprocessing: Its size is the image size, its mean and std normalise pixels.
        any_size: Pixels have any height and width, and the graph resizes them.

    Raises:
        ExportError: If PyTorch cannot export the model.
    """
    deployed = DeployedModel(
        model, input_dtype=input_dtype, any_size=any_size, preprocessing=preprocessing
    ).eval()
    translations: dict[Callable[..., Any], Callable[..., Any]] = dict(RESIZE_TRANSLATION)
    if attention == "decomposed":
        translations[torch.ops.aten.scaled_dot_product_attention.default] = decompose_attention
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                deployed,
                (deployed.example(preprocessing.size),),
                dynamo=True,
                opset_version=_opset(model, attention),
                input_names=[INPUT_NAME],
                output_names=list(OUTPUT_NAMES),
                dynamic_shapes=(
                    {axis: torch.export.Dim(name) for axis, name in deployed.free_axes().items()},
                ),
                custom_translation_table=translations,
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
    return _clean(program.model)


class DeployedModel(nn.Module):
    """A MotivNet that takes what the artifact takes, and returns two FP32 outputs.

    ``float32``: preprocessed images ``(B, 3, height, width)``. ``uint8``: pixels ``(B, height,
    width, 3)`` at the model's size. With ``any_size``: pixels ``(B, H, W, 3)`` of any height and
    width, which the graph resizes as the preprocessing does, bilinear with half-pixel centres and
    without antialiasing, to whole grey levels.

    OpenCV resizes bytes in fixed point and truncates below a quarter of a grey level; the
    graph rounds once, in float32. Over noise, gradients and drawn faces of 323 sizes, 1x1 to
    4096x4096, no pixel differed by more than one grey level of 255; one in eight did by one (15 %
    at worst), and none where a side is divided by a whole number.
    """

    def __init__(
        self,
        model: MotivNet,
        *,
        input_dtype: InputDtype,
        any_size: bool,
        preprocessing: Preprocessing,
    ) -> None:
        super().__init__()
        self.model = model
        self.takes_pixels = input_dtype == "uint8"
        self.resizing = preprocessing if any_size else None
        self.mean = nn.Buffer(torch.tensor(preprocessing.mean).view(3, 1, 1))
        self.scale = nn.Buffer(1 / torch.tensor(preprocessing.std).view(3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``(B, classes)`` and embedding ``(B, width)``, both float32."""
        if self.takes_pixels:
            # The cast comes first: TensorRT's parser refuses to transpose bytes.
            image = image.float().permute(0, 3, 1, 2)  # (B, 3, H, W)
            if self.resizing is not None:
                image = _resize(image, self.resizing)
            image = (image - self.mean) * self.scale
        logits, embedding = self.model.logits_and_embedding(image)
        return logits.float(), embedding.float()

    def example(self, size: tuple[int, int]) -> Tensor:
        """Return input to export with: a batch of 1 or the model size would become a constant."""
        if not self.takes_pixels:
            return torch.zeros(2, 3, *size)
        height, width = size if self.resizing is None else (size[0] + 3, size[1] + 5)
        return torch.zeros(2, height, width, 3, dtype=torch.uint8)

    def free_axes(self) -> dict[int, str]:
        """Return the axes of the input that have no fixed length, by name."""
        return {0: "batch"} if self.resizing is None else {0: "batch", 1: "height", 2: "width"}


def decompose_attention(
    query: Any, key: Any, value: Any, *, scale: float, **_unused: object
) -> Any:
    """Write attention of ``(B, heads, N, dim)`` as two matrix products with a softmax between them.

    TensorRT fuses this pattern only if the query (or key) is scaled before the first product, and
    the exporter's own translation computes shapes at run time that are known here. A scale of 1 is
    in the weights.
    """
    if scale != 1:
        query = _op.Mul(query, _op.CastLike(_op.Constant(value_float=scale), query))
    scores = _op.MatMul(query, _op.Transpose(key, perm=[0, 1, 3, 2]))
    return _op.MatMul(_op.Softmax(scores, axis=-1), value)


def translate_resize(image: Any, output_size: Any, *_unused: object) -> Any:
    """Write a bilinear ``Resize`` of ``(B, C, H, W)`` to a size that is known at export.

    All four sizes are written: with ``axes`` and two sizes, the parser of TensorRT-RTX 1.7.1
    refuses a free batch ("axis 0 with inherently negative length").
    """
    batch_and_channels = _op.Shape(image, start=0, end=2)
    sizes = _op.Concat(batch_and_channels, _op.Constant(value_ints=list(output_size)), axis=0)
    return _op.Resize(
        image, None, None, sizes, mode="linear", coordinate_transformation_mode="half_pixel"
    )


RESIZE_TRANSLATION: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.upsample_bilinear2d.default: translate_resize,
    torch.ops.aten.upsample_bilinear2d.vec: translate_resize,
}


def _resize(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Return ``preprocessing.pixels`` of ``(B, 3, H, W)`` in float32."""
    height, width = preprocessing.content_size
    resized = functional.interpolate(
        image, size=(height, width), mode="bilinear", align_corners=False
    )
    levels = torch.floor(resized + 0.5)  # halves go up as in OpenCV; ONNX's Round goes to even
    if preprocessing.content_size == preprocessing.size:
        return levels
    above, left = (preprocessing.size[0] - height) // 2, (preprocessing.size[1] - width) // 2
    right, below = preprocessing.size[1] - width - left, preprocessing.size[0] - height - above
    return functional.pad(levels, (left, right, above, below), value=float(WHITE))


def _opset(model: MotivNet, attention: AttentionForm) -> int:
    if attention == "fused":
        return 23  # the first with the operator Attention
    if model.encoder.patch_embed.projection.weight.dtype == torch.bfloat16:
        return 22  # the first whose Conv takes BF16
    return 20  # the newest that TensorRT 10.3 parses completely


def _clean(model: ir.Model) -> ir.Model:
    passes: tuple[ir.passes.PassBase, ...] = (
        FoldConstantsPass(),
        JoinAttentionHeadsPass(),
        ReadShapeOfFloatsPass(),
        common.RemoveUnusedNodesPass(),
        common.ClearMetadataAndDocStringPass(),
        common.RemoveUnusedOpsetsPass(),
    )
    result = ir.passes.Sequential(*passes)(model)
    result.model.producer_name, result.model.producer_version = "motivnet", __version__
    result.model.metadata_props.clear()
    return result.model


def _was_interrupted(error: BaseException | None) -> bool:
    """Return whether Ctrl-C is at the root of an error: the exporter wraps every exception."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence the exporter about itself: missing torchvision, its own deprecated calls."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript.optimizer")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
