"""From an image to the inputs of a runtime: decode it, find and crop its faces, resize each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact.engine_entry import ShapeProfile
from motivnet.artifact.manifest import InputEntry
from motivnet.errors import InputError
from motivnet.images import USER_LIMITS, EncodedImage, ImageLimits, read_encoded
from motivnet.prediction import Box
from motivnet.preprocess import check_image
from motivnet_engines.faces.detector import (
    DETECTION_SIDE,
    Face,
    FaceDetector,
    crop_side,
    square_crop,
)
from motivnet_engines.runtimes.signature import input_from_image

Image: TypeAlias = Path | str | bytes | bytearray | memoryview | NDArray[np.uint8]
"""A path, the bytes of an image file, or RGB pixels ``(H, W, 3)`` of uint8.

The pixels of OpenCV are BGR: reverse them.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedImage:
    """An image without its pixels: its faces, and the classifier's input for each of them.

    ``faces`` holds one None for an image that is the face itself. An input is the array that a
    runtime takes, or for a cascade those of both models, with the ``nbytes`` of both.
    """

    name: str
    width: int
    height: int
    faces: tuple[Face | None, ...]
    inputs: tuple[Any, ...]
    prepare_ms: float


def prepare_image(
    image: Image,
    *,
    name: str,
    entry: InputEntry,
    profile: ShapeProfile | None = None,
    detector: FaceDetector | None = None,
    limits: ImageLimits = USER_LIMITS,
) -> PreparedImage:
    """Prepare every face that the detector finds, or without a detector the whole image as one.

    Args:
        name: The image in error messages, if it has no path.
        entry: The input of the artifact's manifest.
        profile: That of an engine which takes images of any size.
        limits: Of the image's file or bytes.

    Raises:
        FileError, ImageError, InputError: Naming the image.
    """
    return prepare_faces(
        image,
        lambda crop: input_from_image(entry, crop, profile=profile),
        name=name,
        side=max(entry.preprocessing.content_size),
        detector=detector,
        limits=limits,
    )


def prepare_faces(
    image: Image,
    input_from_crop: Callable[[NDArray[np.uint8]], Any],
    *,
    name: str,
    side: int,
    detector: FaceDetector | None = None,
    limits: ImageLimits = USER_LIMITS,
) -> PreparedImage:
    """Prepare an image as ``prepare_image``, with any function that makes an input of a crop.

    Args:
        side: Pixels that the longer side of a crop should have, if the picture has them.

    Raises:
        FileError, ImageError, InputError: Naming the image.
    """
    start = time.perf_counter()
    picture = _open_picture(image, name=name, limits=limits)
    with picture.turn():
        faces, crops = _detect_and_crop(picture, detector, side=side)
        inputs = tuple(map(input_from_crop, crops))
    return PreparedImage(
        name=str(image) if isinstance(image, (str, Path)) else name,
        width=picture.width,
        height=picture.height,
        faces=faces,
        inputs=inputs,
        prepare_ms=(time.perf_counter() - start) * 1e3,
    )


class _Pixels:
    """An array with the methods of an ``EncodedImage``."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self.height, self.width = array.shape[:2]
        self._array = array

    def turn(self) -> AbstractContextManager[object]:
        return contextlib.nullcontext()

    def reduction(self, _factor: float) -> int:
        return 1

    def pixels(self, _reduction: int = 1) -> NDArray[np.uint8]:
        return self._array


def _detect_and_crop(
    picture: EncodedImage | _Pixels, detector: FaceDetector | None, *, side: int
) -> tuple[tuple[Face | None, ...], list[NDArray[np.uint8]]]:
    """Return the faces of a picture and the crop of each.

    Large photos are decoded reduced: once as the detector needs them, and again if a crop would
    have fewer than ``side`` pixels.
    """
    if detector is None:
        return (None,), [picture.pixels()]
    reduction = picture.reduction(max(picture.width, picture.height) / DETECTION_SIDE)
    pixels = picture.pixels(reduction)
    found = detector.detect(pixels)
    faces = tuple(_enlarge(face, reduction, picture) for face in found)
    smallest = min((crop_side(face.box) for face in faces), default=picture.width)
    needed = picture.reduction(smallest / side)
    if needed < reduction:
        del pixels
        reduction, pixels = needed, picture.pixels(needed)
    return faces, [square_crop(pixels, _scale(face.box, 1 / reduction)) for face in faces]


def _enlarge(face: Face, factor: int, picture: EncodedImage | _Pixels) -> Face:
    """Return a face of a reduced picture in the whole one, of which the last pixels may lack."""
    if factor == 1:
        return face
    box = _scale(face.box, factor)
    width, height = max(1.0, picture.width - box.x), max(1.0, picture.height - box.y)
    box = replace(box, width=min(box.width, width), height=min(box.height, height))
    points = face.points and tuple((x * factor, y * factor) for x, y in face.points)
    return replace(face, box=box, points=points)


def _scale(box: Box, factor: float) -> Box:
    return Box(**{name: value * factor for name, value in box.to_dict().items()})


def _open_picture(image: Image, *, name: str, limits: ImageLimits) -> EncodedImage | _Pixels:
    """Return the picture, of which nothing was decoded yet."""
    if isinstance(image, (str, Path)):
        data = read_encoded(Path(image), limits=limits)
        return EncodedImage(data, name=str(image), limits=limits)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return EncodedImage(bytes(image), name=name, limits=limits)
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"{name} must be a path, the bytes of an image file or an (H, W, 3) array of uint8, "
            f"not {type(image).__name__}"
        )
    try:
        check_image(image)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    return _Pixels(image)
