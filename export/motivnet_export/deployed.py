"""The model as it is deployed: pixels in front, where the artifact takes them, and two FP32 outputs behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset20
from torch import Tensor, nn
from torch.nn import functional

from motivnet.artifact.manifest import InputDtype
from motivnet.model import MotivNet
from motivnet.preprocess import WHITE, InputRecipe

_op: Any = opset20  # its operators are typed for ONNX Script functions, not for tracing


class DeployedModel(nn.Module):
    """A MotivNet that takes what the artifact takes.

    ``float32``: what the recipe gives, ``(B, 3, height, width)``. ``uint8``: pixels ``(B, height,
    width, 3)`` at the model's size. With ``any_size``: pixels ``(B, H, W, 3)`` of any height and
    width, which the graph resizes as the recipe does, bilinear with half-pixel centres and without
    antialiasing, to whole grey levels.

    OpenCV resizes bytes in fixed point and cuts off below a quarter of a grey level on the way, the
    graph rounds once, in float32. Over noise, gradients and drawn faces of 323 sizes, 1x1 to
    4096x4096, no pixel differed by more than one grey level of 255; one in eight did by one (15 %
    at worst), and none where a side is divided by a whole number.
    """

    def __init__(
        self, model: MotivNet, *, input_dtype: InputDtype, any_size: bool, recipe: InputRecipe
    ) -> None:
        super().__init__()
        self.model = model
        self.takes_pixels = input_dtype == "uint8"
        self.recipe = recipe if any_size else None
        self.mean = nn.Buffer(torch.tensor(recipe.mean).view(3, 1, 1))
        self.scale = nn.Buffer(1 / torch.tensor(recipe.std).view(3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(B, classes)`` and embedding ``(B, width)``, both float32."""
        if self.takes_pixels:
            # The cast comes first: TensorRT's parser refuses to transpose bytes.
            image = image.float().permute(0, 3, 1, 2)  # (B, 3, H, W)
            if self.recipe is not None:
                image = _resized(image, self.recipe)
            image = (image - self.mean) * self.scale
        logits, embedding = self.model.logits_and_embedding(image)
        return logits.float(), embedding.float()

    def example(self, size: tuple[int, int]) -> Tensor:
        """Input for an export: two images, because one would freeze the batch, and sides that are no special case."""
        if not self.takes_pixels:
            return torch.zeros(2, 3, *size)
        height, width = size if self.recipe is None else (size[0] + 3, size[1] + 5)
        return torch.zeros(2, height, width, 3, dtype=torch.uint8)

    def free_axes(self) -> dict[int, str]:
        """The axes of the input that have no fixed length, by name."""
        return {0: "batch"} if self.recipe is None else {0: "batch", 1: "height", 2: "width"}


def resize(image: Any, output_size: Any, *_unused: object) -> Any:
    """Bilinear ``Resize`` of ``(B, C, H, W)`` to a size known at export, its batch read at run
    time.

    All four sizes are written: with ``axes`` and two sizes, the parser of TensorRT-RTX 1.7.1
    refuses a free batch ("axis 0 with inherently negative length").
    """
    batch_and_channels = _op.Shape(image, start=0, end=2)
    sizes = _op.Concat(batch_and_channels, _op.Constant(value_ints=list(output_size)), axis=0)
    return _op.Resize(
        image, None, None, sizes, mode="linear", coordinate_transformation_mode="half_pixel"
    )


RESIZE_TRANSLATION: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.upsample_bilinear2d.default: resize,
    torch.ops.aten.upsample_bilinear2d.vec: resize,
}


def _resized(image: Tensor, recipe: InputRecipe) -> Tensor:
    """``InputRecipe.pixels`` of ``(B, 3, H, W)`` in float32; halves go up, as OpenCV's do and ONNX's ``Round`` not."""
    height, width = recipe.content_size
    resized = functional.interpolate(
        image, size=(height, width), mode="bilinear", align_corners=False
    )
    levels = torch.floor(resized + 0.5)
    if recipe.content_size == recipe.size:
        return levels
    above, left = (recipe.size[0] - height) // 2, (recipe.size[1] - width) // 2
    padding = (left, recipe.size[1] - width - left, above, recipe.size[0] - height - above)
    return functional.pad(levels, padding, value=float(WHITE))
