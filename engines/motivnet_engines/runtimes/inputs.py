"""What a runtime is fed, made of images or of pixels that already went through the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact.manifest import InputEntry, Manifest, ShapeProfile
from motivnet.errors import InputError
from motivnet.preprocess import check_image

_SLOPE = np.uint8(32)
"""Grey levels between a pixel and the first of those that it is made into."""


def batch_from_images(
    entry: InputEntry, images: Sequence[NDArray[np.uint8]], *, profile: ShapeProfile | None = None
) -> NDArray[Any]:
    """The input of a batch of RGB images, each ``(H, W, 3)``; all of one size where the input has
    any size.

    Returns:
        float32 ``(batch, 3, height, width)`` normalised, or uint8 ``(batch, height, width, 3)``
        pixels, as ``entry`` says.

    Raises:
        InputError: If there is no image, one is not RGB of uint8, or their sizes differ and may
        not.
    """
    if not len(images):
        raise InputError("a batch must hold at least one image")
    inputs = [input_from_image(entry, image, profile=profile) for image in images]
    if sizes := {made.shape[:2] for made in inputs if made.shape != inputs[0].shape}:
        height, width = inputs[0].shape[:2]
        raise InputError(
            f"a batch of this artifact holds images of one size, not {height}x{width} and "
            f"{' and '.join(f'{h}x{w}' for h, w in sorted(sizes))}; put them into several batches"
        )
    return np.stack(inputs)


def input_from_image(
    entry: InputEntry, image: NDArray[np.uint8], *, profile: ShapeProfile | None = None
) -> NDArray[Any]:
    """One RGB image's part of a batch.

    Where the graph resizes, that is the image itself, unless it is beyond the sizes of an engine's
    ``profile``: then it is resized here, by the same recipe, and the graph finds nothing left to
    do.

    Raises:
        InputError: If it is not ``(H, W, 3)`` of uint8.
    """
    if entry.dtype != "uint8":
        return entry.recipe(image)
    if not entry.any_size:
        return entry.recipe.pixels(image)
    check_image(image)
    return (
        image if profile is None or _fits(image.shape[:2], profile) else entry.recipe.resized(image)
    )


def input_from_pixels(
    entry: InputEntry, pixels: NDArray[np.uint8], *, profile: ShapeProfile | None = None
) -> NDArray[Any]:
    """The input for pixels ``(batch, height, width, 3)`` that are at the model's size already, as a
    reference's are.

    Where the graph resizes, that is an image twice as large if the ``profile`` has room, of which
    the recipe makes exactly these pixels and another filter, or other centres, would not.
    """
    if entry.dtype != "uint8":
        return entry.recipe.normalise(pixels)
    if not entry.any_size:
        return pixels
    content = entry.recipe.content(pixels)
    enlarged = _enlarged(content)
    return (
        enlarged
        if profile is None or _fits(enlarged.shape[1:3], profile)
        else np.ascontiguousarray(content)
    )


def profile_of(manifest: Manifest, runtime: str) -> ShapeProfile | None:
    """The shapes that the engine of a runtime was built for; None for a runtime that opens the graph itself."""
    engine = manifest.engine(runtime)
    return None if engine is None else engine.profile


def _enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each pixel of ``(batch, H, W, 3)`` as four whose mean it is, and which rise from the first to the last."""
    slope = np.minimum(np.minimum(pixels, 255 - pixels), _SLOPE)
    enlarged = pixels.repeat(2, axis=1).repeat(2, axis=2)
    enlarged[:, 0::2, 0::2] -= slope
    enlarged[:, 1::2, 1::2] += slope
    return enlarged


def _fits(size: tuple[int, ...], profile: ShapeProfile) -> bool:
    return all(
        low <= side <= high
        for low, side, high in zip(profile.min_size, size, profile.max_size, strict=True)
    )
