"""NaN and infinity stop a training in the step in which they appear."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from motivnet.errors import TrainingError

logger = logging.getLogger(__name__)

ADVICE = "lower the learning rate, or look at these images"
_SHOWN = 64


def check_loss(losses: Tensor, mean: float, *, epoch: int, images: Sequence[str]) -> None:
    """Check that the loss of a batch is finite; ``losses`` are those of its images ``(B,)``.

    Raises:
        TrainingError: Naming the images whose loss is not finite, or all if the mean alone is not.
    """
    if math.isfinite(mean):
        return
    values = zip(images, losses.tolist(), strict=True)
    bad = [image for image, loss in values if not math.isfinite(loss)] or images
    raise TrainingError(f"the loss became {mean} in {describe_step(epoch, bad)}; {ADVICE}")


def check_gradients(
    gradients: Sequence[Tensor], *, scale: float, epoch: int, images: Sequence[str]
) -> None:
    """Check that no gradient is NaN or infinite.

    With ``16-mixed`` an infinite gradient is part of the method, and the loss scaler leaves out
    that step: it is an error only at a ``scale`` of 1 or below, and a warning above.

    Raises:
        TrainingError: Naming the images of the step.
    """
    if scale <= 1:
        check_tensors(gradients, "a gradient", epoch=epoch, images=images)
    elif not all_finite(gradients):
        place = describe_step(epoch, images)
        logger.warning("a gradient overflowed in %s: the step is left out", place)


def check_tensors(
    tensors: Iterable[Tensor], what: str, *, epoch: int, images: Sequence[str]
) -> None:
    """Check that no number in the tensors is NaN or infinite.

    Raises:
        TrainingError: Naming the images of the step.
    """
    if not all_finite(tensors):
        place = describe_step(epoch, images)
        raise TrainingError(f"{what} became NaN or infinite in {place}; {ADVICE}")


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether all numbers are finite, in one pass with one answer from the device."""
    floating = [each.detach() for each in tensors if each.is_floating_point() and each.numel()]
    if not floating:
        return True
    # A norm of FP32 can overflow where every number is finite; the largest magnitude cannot.
    largest = torch._foreach_norm(floating, math.inf)
    return bool(torch.isfinite(torch.stack([each.float() for each in largest])).all())


def describe_step(epoch: int, images: Sequence[str]) -> str:
    """Return an epoch, counted from 0, and the images of a step as words."""
    if not images:
        return f"epoch {epoch + 1}"
    more = f" and {len(images) - _SHOWN} more" if len(images) > _SHOWN else ""
    return f"epoch {epoch + 1}, in the step with {', '.join(images[:_SHOWN])}{more}"
