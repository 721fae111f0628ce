"""Faces drawn into a picture: a box and a caption each, which can be read on any background."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from motivnet.box import Box
from motivnet.prediction import UNKNOWN, Prediction
from motivnet_engines.writers.face_labels import (
    Label,
    Rectangle,
    label_of_face,
    label_of_picture,
    outline,
    text_font,
)

Colour: TypeAlias = tuple[int, int, int]

# After the colours that people with any colour vision tell apart (Okabe and Ito 2008), light enough
# for black text.
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
_OF_UNKNOWN: Colour = (170, 170, 170)
_BLACK: Colour = (0, 0, 0)
_LINE_OF_PICTURE = 1 / 320
_LINE_OF_FACE = 1 / 40


def draw_faces(
    pixels: NDArray[np.uint8],
    faces: Sequence[Prediction],
    *,
    captions: Sequence[str] | None = None,
    numbers: Sequence[int] | None = None,
) -> NDArray[np.uint8]:
    """A copy of an RGB picture ``(H, W, 3)`` with the box and the caption of each face.

    A face without a box is the whole picture, and has its caption in the corner. A caption stands
    above its box, or below or within it where there is no room or another one already. A face in a
    crowd, of which no caption can be read without covering another's face, has its number instead,
    or its box alone.

    Args:
        captions: One per face; the label and its confidence if None.
        numbers: One per face; counted from 1, as in tables, if None.
    """
    texts = [caption(face) for face in faces] if captions is None else captions
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    for face in faces:
        if face.box is not None:
            _draw_box(draw, face.box, colour_of(face))
    outlines = {
        index: outline(face.box) for index, face in enumerate(faces) if face.box is not None
    }
    labels: list[Rectangle] = []
    for index, (face, text, number) in enumerate(
        zip(faces, texts, numbers or range(1, len(faces) + 1), strict=True)
    ):
        others = [other for owner, other in outlines.items() if owner != index]
        if face.box is None:
            label: Label | None = label_of_picture(text, image.size)
        else:
            label = label_of_face(
                (text, f"#{number}"), face.box, image.size, faces=others, labels=labels
            )
        if label is not None:
            _draw_label(draw, label, colour_of(face))
            labels.append(label.rectangle)
    return np.asarray(image)


def caption(face: Prediction) -> str:
    """The label and its confidence, as ``happiness 98%``; of an unknown face the label alone."""
    return face.label if face.label == UNKNOWN else f"{face.label} {face.confidence:.0%}"


def colour_of(face: Prediction) -> Colour:
    """The colour of a face's label, by its place among the classes."""
    if face.label not in face.probabilities:
        return _OF_UNKNOWN
    return _COLOURS[list(face.probabilities).index(face.label) % len(_COLOURS)]


def _draw_box(draw: ImageDraw.ImageDraw, box: Box, colour: Colour) -> None:
    """A light line between two dark ones; all within the picture, also where the face is at its border."""
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
