"""Numbers that are not finite, and the one line that names where they came from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from motivnet.errors import TrainingError

_SHOWN = 64
ADVICE = "lower the learning rate, or look at these images"


def check_loss(losses: Tensor, mean: float, *, epoch: int, images: Sequence[str]) -> None:
    """Returns when the loss is finite.

    Args:
        losses: Of each image ``(B,)``.
        mean: The loss of the batch.

    Raises:
        TrainingError: Naming the images whose own loss is not finite, or all where the mean alone
        is not.
    """
    if math.isfinite(mean):
        return
    bad = [
        image
        for image, loss in zip(images, losses.tolist(), strict=True)
        if not math.isfinite(loss)
    ] or images
    raise TrainingError(f"the loss became {mean} in {place_of(epoch, bad)}; {ADVICE}")


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no number is NaN or infinite, with one pass over the memory and one answer from the device."""
    floating = [tensor.detach() for tensor in tensors if tensor.is_floating_point()]
    if not floating:
        return True
    # A norm of FP32 can overflow where every number is finite; the largest magnitude cannot.
    largest = torch._foreach_norm(floating, math.inf)
    return bool(torch.isfinite(torch.stack([each.float() for each in largest])).all())


def place_of(epoch: int, images: Sequence[str]) -> str:
    """An epoch, counted from 0, and the images of a step."""
    if not images:
        return f"epoch {epoch + 1}"
    more = f" and {len(images) - _SHOWN} more" if len(images) > _SHOWN else ""
    return f"epoch {epoch + 1}, in the step with {', '.join(images[:_SHOWN])}{more}"
