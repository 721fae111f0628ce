"""From an image to the inputs of a runtime: decode it, find and crop its faces, resize each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact.engine_entry import ShapeProfile
from motivnet.artifact.manifest import InputEntry
from motivnet.errors import InputError
from motivnet.images import decode_image, read_image
from motivnet.preprocess import check_image
from motivnet_engines.faces.detector import Face, FaceDetector, square_crop
from motivnet_engines.runtimes.signature import input_from_image

Image: TypeAlias = Path | str | bytes | bytearray | memoryview | NDArray[np.uint8]
"""A path, the bytes of an image file, or RGB pixels ``(H, W, 3)`` of uint8.

The pixels of OpenCV are BGR: reverse them.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedImage:
    """An image without its pixels: its faces, and the runtime's input for each of them.

    ``faces`` holds one None for an image that is the face itself.
    """

    name: str
    width: int
    height: int
    faces: tuple[Face | None, ...]
    inputs: tuple[NDArray[Any], ...]
    prepare_ms: float


def prepare_image(
    image: Image,
    *,
    name: str,
    entry: InputEntry,
    profile: ShapeProfile | None = None,
    detector: FaceDetector | None = None,
) -> PreparedImage:
    """Prepare every face that the detector finds, or without a detector the whole image as one.

    Args:
        name: The image in error messages, if it has no path.
        entry: The input of the artifact's manifest.
        profile: That of an engine which takes images of any size.

    Raises:
        FileError, ImageError, InputError: Naming the image.
    """
    start = time.perf_counter()
    pixels = _read_pixels(image, name=name)
    faces = (None,) if detector is None else detector.detect(pixels)
    crops = [pixels if face is None else square_crop(pixels, face.box) for face in faces]
    return PreparedImage(
        name=str(image) if isinstance(image, (str, Path)) else name,
        width=pixels.shape[1],
        height=pixels.shape[0],
        faces=faces,
        inputs=tuple(input_from_image(entry, crop, profile=profile) for crop in crops),
        prepare_ms=(time.perf_counter() - start) * 1e3,
    )


def _read_pixels(image: Image, *, name: str) -> NDArray[np.uint8]:
    """Return the rotated RGB pixels ``(H, W, 3)`` of an image."""
    if isinstance(image, (str, Path)):
        return read_image(image)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return decode_image(bytes(image), name=name)
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"{name} must be a path, the bytes of an image file or an (H, W, 3) array of uint8, "
            f"not {type(image).__name__}"
        )
    try:
        check_image(image)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    return image
