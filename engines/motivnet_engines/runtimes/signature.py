"""The inputs and outputs that a manifest promises, and the arrays that a runtime is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact.engine_entry import ShapeProfile
from motivnet.artifact.manifest import InputEntry, Manifest
from motivnet.errors import ArtifactError, InputError
from motivnet.images import MAX_PIXELS
from motivnet.preprocess import check_image
from motivnet.runtime import TensorSpec
from motivnet_engines.faces.alignment import aligned

_SLOPE = np.uint8(32)
"""Grey levels between a pixel and the first of the four that it is enlarged to."""


def input_specs(manifest: Manifest) -> tuple[TensorSpec, ...]:
    """Return the one input: float32 ``(batch, 3, H, W)`` or uint8 ``(batch, H, W, 3)``.

    H and W are free if the graph takes images of any size.
    """
    height, width = manifest.input.preprocessing.size
    pixels = (None, None, 3) if manifest.input.any_size else (height, width, 3)
    sides = pixels if manifest.input.dtype == "uint8" else (3, height, width)
    spec = TensorSpec(name=manifest.input.name, dtype=manifest.input.dtype, shape=(None, *sides))
    return (spec,)


def input_shape(entry: InputEntry, batch: int, size: tuple[int, int]) -> tuple[int, ...]:
    """Return ``(batch, H, W, 3)`` for an input of pixels, else ``(batch, 3, H, W)``."""
    return (batch, *size, 3) if entry.dtype == "uint8" else (batch, 3, *size)


def profile_shapes(entry: InputEntry, profile: ShapeProfile) -> list[tuple[int, ...]]:
    """Return the smallest, best and largest shape of the input."""
    return [
        input_shape(entry, profile.min_batch, profile.min_size),
        input_shape(entry, profile.opt_batch, profile.opt_size),
        input_shape(entry, profile.max_batch, profile.max_size),
    ]


def output_specs(manifest: Manifest) -> tuple[TensorSpec, ...]:
    """Return ``logits (batch, classes)`` and ``embedding (batch, D)``, as the manifest names them.

    Raises:
        ArtifactError: If it names another output.
    """
    widths = {"logits": len(manifest.labels), "embedding": manifest.source.config.encoder.embed_dim}
    if unknown := [name for name in manifest.outputs if name not in widths]:
        raise ArtifactError(
            f"the manifest names an unknown output {unknown[0]!r}; the outputs are {sorted(widths)}"
        )
    if "logits" not in manifest.outputs:
        raise ArtifactError("the manifest names no output 'logits'; build the artifact again")
    return tuple(
        TensorSpec(name=name, dtype="float32", shape=(None, widths[name]))
        for name in manifest.outputs
    )


def check_graph(
    manifest: Manifest, *, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> None:
    """Check that a parsed graph has exactly the inputs and outputs of the manifest.

    Raises:
        ArtifactError: Naming the first difference.
    """
    _check("inputs", {spec.name: spec for spec in inputs}, input_specs(manifest))
    _check("outputs", {spec.name: spec for spec in outputs}, output_specs(manifest))


def _check(kind: str, have: dict[str, TensorSpec], promised: tuple[TensorSpec, ...]) -> None:
    for spec in promised:
        found = have.get(spec.name)
        if found != spec:
            raise ArtifactError(
                f"the graph's {kind} do not fit the manifest: {spec.name!r} should be {spec}, "
                f"not {found or 'missing'}; build the artifact again"
            )
    if extra := sorted(set(have) - {spec.name for spec in promised}):
        raise ArtifactError(
            f"the graph has {kind} that the manifest does not name: {', '.join(extra)}"
        )


def batch_from_images(
    entry: InputEntry, images: Sequence[NDArray[np.uint8]], *, profile: ShapeProfile | None = None
) -> NDArray[Any]:
    """Return the input for a batch of RGB images, each ``(H, W, 3)``.

    If the graph takes images of any size, all images of a batch must have the same size.

    Returns:
        Normalised float32 ``(batch, 3, height, width)``, or uint8 pixels
        ``(batch, height, width, 3)``, as ``entry`` asks.

    Raises:
        InputError: If there is no image, one is not RGB of uint8, or their sizes differ and must
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
    """Return the input for one RGB image.

    A face is aligned first, if the preprocessing aligns. If the graph resizes, the input is the
    image itself. An image outside the sizes of an engine's
    ``profile``, or above ``MAX_PIXELS``, is preprocessed here, in the same way, and the graph
    leaves it unchanged.

    Raises:
        InputError: If it is not ``(H, W, 3)`` of uint8.
    """
    check_image(image)
    image = aligned(entry.preprocessing, image)
    if entry.dtype != "uint8":
        return entry.preprocessing(image)
    if not entry.any_size:
        return entry.preprocessing.pixels(image)
    height, width = image.shape[:2]
    is_taken = profile is None or fits_profile((height, width), profile)
    is_taken = is_taken and height * width <= MAX_PIXELS
    return image if is_taken else entry.preprocessing.resized(image)


def input_from_pixels(
    entry: InputEntry, pixels: NDArray[np.uint8], *, profile: ShapeProfile | None = None
) -> NDArray[Any]:
    """Return the input for pixels ``(batch, height, width, 3)`` at the model's size.

    The pixels of a reference are such. If the graph resizes, the input is enlarged to twice the
    size where the ``profile`` has room. Preprocessing turns it into exactly these pixels, which a
    graph with another filter or other centres would not, so resizing is compared too.
    """
    if entry.dtype != "uint8":
        return entry.preprocessing.normalise(pixels)
    if not entry.any_size:
        return pixels
    content = entry.preprocessing.content(pixels)
    enlarged = _enlarged(content)
    is_taken = profile is None or fits_profile(enlarged.shape[1:3], profile)
    return enlarged if is_taken else np.ascontiguousarray(content)


def profile_of(manifest: Manifest, runtime: str) -> ShapeProfile | None:
    """Return the shapes of a runtime's engine; None for a runtime that opens the graph itself."""
    engine = manifest.engine(runtime)
    return None if engine is None else engine.profile


def _enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return each pixel of ``(batch, H, W, 3)`` as four that increase and whose mean it is."""
    slope = np.minimum(np.minimum(pixels, 255 - pixels), _SLOPE)
    enlarged = pixels.repeat(2, axis=1).repeat(2, axis=2)
    enlarged[:, 0::2, 0::2] -= slope
    enlarged[:, 1::2, 1::2] += slope
    return enlarged


def fits_profile(size: tuple[int, ...], profile: ShapeProfile) -> bool:
    """Return whether images of a (height, width) are within the sizes of an engine."""
    sides = zip(profile.min_size, size, profile.max_size, strict=True)
    return all(low <= side <= high for low, side, high in sides)
