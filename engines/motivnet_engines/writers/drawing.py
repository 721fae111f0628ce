"""Faces drawn into pictures: a box and a caption each, and annotated copies of image files."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from motivnet.files import write_atomic
from motivnet.prediction import UNKNOWN, Box, Prediction
from motivnet_engines.video.source import is_video
from motivnet_engines.writers.face_labels import (
    Label,
    Rectangle,
    label_of_face,
    label_of_picture,
    outline,
    text_font,
)

WRITTEN_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"))
"""Suffixes of the pictures that are written, in lower case."""

Colour: TypeAlias = tuple[int, int, int]

# Distinguishable with any colour vision (after Okabe and Ito 2008) and light enough for black text.
_COLOURS: tuple[Colour, ...] = (
    (86, 180, 233),
    (240, 165, 0),
    (0, 185, 135),
    (225, 130, 185),
    (228, 208, 50),
    (240, 105, 75),
    (150, 145, 245),
    (180, 128, 80),
)
_BLACK: Colour = (0, 0, 0)
_LINE_OF_PICTURE = 1 / 320
_LINE_OF_FACE = 1 / 40
_READABLE_SIDE = 320
"""Pixels of the longer side; smaller pictures are enlarged so that a caption fits."""


def draw_faces(
    pixels: NDArray[np.uint8],
    faces: Sequence[Prediction],
    *,
    tracks: Sequence[int] = (),
) -> NDArray[np.uint8]:
    """Return a copy of an RGB picture ``(H, W, 3)`` with the box and the caption of each face.

    A face without a box is the whole picture and has its caption in the corner. A caption is above
    its box, or else below or inside it. In a crowd, where a readable caption would cover another
    face, a face has only its number, or only its box.

    Args:
        tracks: The number of each face, which its caption begins with; without them, the faces are
            counted from 1 as in tables, and only those without a caption show it.
    """
    prefixes = [f"#{track} " for track in tracks] or [""] * len(faces)
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    for face in faces:
        if face.box is not None:
            _draw_box(draw, face.box, colour_of(face))
    outlines = [None if face.box is None else outline(face.box) for face in faces]
    labels: list[Rectangle] = []
    numbers = tracks or range(1, len(faces) + 1)
    for index, (face, prefix, number) in enumerate(zip(faces, prefixes, numbers, strict=True)):
        text = prefix + caption(face)
        if face.box is None:
            label: Label | None = label_of_picture(text, image.size)
        else:
            others = [other for owner, other in enumerate(outlines) if other and owner != index]
            label = label_of_face(
                (text, f"#{number}"), face.box, image.size, faces=others, labels=labels
            )
        if label is not None:
            _draw_label(draw, label, colour_of(face))
            labels.append(label.rectangle)
    return np.asarray(image)


def caption(face: Prediction) -> str:
    """Return the label and its confidence, as ``happiness 98%``; only the label if unknown."""
    return face.label if face.label == UNKNOWN else f"{face.label} {face.confidence:.0%}"


def colour_of(face: Prediction) -> Colour:
    """Return the colour of a face's label, by its index among the classes."""
    if face.label not in face.probabilities:
        return (170, 170, 170)
    return _COLOURS[list(face.probabilities).index(face.label) % len(_COLOURS)]


def _draw_box(draw: ImageDraw.ImageDraw, box: Box, colour: Colour) -> None:
    """Draw a light line between two dark ones, inside the picture even if the box is not."""
    size = draw.im.size
    width = max(1, round(min(max(size) * _LINE_OF_PICTURE, box.width * _LINE_OF_FACE)))
    edge = width + 2 * max(1, width // 2)
    left, top = max(0, math.floor(box.x)), max(0, math.floor(box.y))
    right = min(size[0], math.ceil(box.x + box.width)) - 1
    bottom = min(size[1], math.ceil(box.y + box.height)) - 1
    if right <= left or bottom <= top:
        return
    draw.rectangle((left, top, right, bottom), outline=_BLACK, width=edge)
    inset = max(1, width // 2)
    if right - left > 2 * inset and bottom - top > 2 * inset:
        draw.rectangle(
            (left + inset, top + inset, right - inset, bottom - inset), outline=colour, width=width
        )


def _draw_label(draw: ImageDraw.ImageDraw, label: Label, colour: Colour) -> None:
    left, top, right, bottom = label.rectangle
    draw.rectangle((left, top, right - 1, bottom - 1), fill=colour, outline=_BLACK)
    place = left + label.pad, top + label.height / 2
    draw.text(place, label.text, fill=_BLACK, font=text_font(label.pixels), anchor="lm")


def annotated_copies(paths: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Return the path of each file's annotated copy in ``folder``.

    It is the file's path below the common parent of all files, so ``a/x.jpg`` and ``b/x.jpg`` stay
    apart. ``.mp4`` is appended to the name of a video that is not MP4, and ``.png`` to that of
    another file whose suffix is not one of ``WRITTEN_SUFFIXES``.
    """
    absolute = {path: Path(os.path.abspath(path)) for path in paths}  # noqa: PTH100 - keeps links
    if not absolute:
        return {}
    common = Path(os.path.commonpath([path.parent for path in absolute.values()]))
    copies = {}
    for path, full in absolute.items():
        name, suffix = full.relative_to(common), full.suffix.lower()
        written, new = ({".mp4"}, ".mp4") if is_video(path) else (WRITTEN_SUFFIXES, ".png")
        name = name if suffix in written else name.with_name(name.name + new)
        copies[path] = folder / name
    return copies


def write_annotated(pixels: NDArray[np.uint8], copy: Path, faces: Sequence[Prediction]) -> None:
    """Write a picture with its faces drawn in, in the format of the suffix.

    Raises:
        FileError: If it cannot be written.
    """
    write_picture(annotated_picture(pixels, faces), copy)


def write_picture(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write a picture whole or not at all, in the format of the suffix, for this user alone.

    It is encoded in memory: what Pillow writes to a file is cut short on a full disk without an
    error.

    Raises:
        FileError: If it cannot be written.
    """
    encoded = io.BytesIO()
    form = Image.registered_extensions()[path.suffix.lower()]
    Image.fromarray(pixels).save(encoded, form, quality=92)  # PNG and BMP ignore the quality
    write_atomic(path, encoded.getvalue(), private=True)


def annotated_picture(pixels: NDArray[np.uint8], faces: Sequence[Prediction]) -> NDArray[np.uint8]:
    """Return the picture with its faces drawn in; a small one is enlarged by an integer first."""
    factor = math.ceil(_READABLE_SIDE / max(pixels.shape[:2]))
    if factor > 1:
        size = pixels.shape[1] * factor, pixels.shape[0] * factor
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    return draw_faces(pixels, [_enlarge(face, factor) for face in faces])


def _enlarge(face: Prediction, factor: int) -> Prediction:
    if face.box is None:
        return face
    box = Box(**{name: value * factor for name, value in face.box.to_dict().items()})
    return replace(face, box=box)
