"""Faces drawn into a picture: a box and a caption each, which can be read on any background."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from motivnet.box import Box
from motivnet.prediction import UNKNOWN, Prediction

Rectangle: TypeAlias = tuple[int, int, int, int]
Colour: TypeAlias = tuple[int, int, int]

# Light colours that people with any colour vision tell apart (Okabe and Ito 2008), with black text on them.
_COLOURS: tuple[Colour, ...] = (
    (236, 236, 236),
    (240, 228, 66),
    (86, 180, 233),
    (230, 159, 0),
    (204, 141, 179),
    (0, 190, 140),
    (240, 120, 50),
    (160, 160, 240),
)
_OF_UNKNOWN: Colour = (170, 170, 170)
_BLACK: Colour = (0, 0, 0)
_LEAST_TEXT = 11
_TEXT_OF_PICTURE = (0.014, 0.03)
"""Least and largest height of a text, as a share of the longer side; between them it goes by the face's width."""
_TEXT_OF_FACE = 0.17
_LINE_OF_PICTURE = 1 / 320
_LINE_OF_FACE = 1 / 40


def draw_faces(
    pixels: NDArray[np.uint8], faces: Sequence[Prediction], *, captions: Sequence[str] | None = None
) -> NDArray[np.uint8]:
    """A copy of an RGB picture ``(H, W, 3)`` with the box and the caption of each face.

    A face without a box is the whole picture, and has its caption in the corner. A caption stands above its box, or
    below or within it where there is no room or another one already.

    Args:
        captions: One per face; the label and its confidence if None.
    """
    texts = [caption(face) for face in faces] if captions is None else captions
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    for face in faces:
        if face.box is not None:
            _draw_box(draw, face.box, colour_of(face))
    taken = [_outline(face.box) for face in faces]
    for index, (face, text) in enumerate(zip(faces, texts, strict=True)):
        others = [rectangle for other, rectangle in enumerate(taken) if other != index and rectangle is not None]
        taken.append(_draw_caption(draw, face, text, others))
    return np.asarray(image)


def caption(face: Prediction) -> str:
    """The label and its confidence, as ``happiness 98%``; of an unknown face the label alone."""
    return face.label if face.label == UNKNOWN else f"{face.label} {face.confidence:.0%}"


def colour_of(face: Prediction) -> Colour:
    """The colour of a face's label, by its place among the classes."""
    if face.label not in face.probabilities:
        return _OF_UNKNOWN
    return _COLOURS[list(face.probabilities).index(face.label) % len(_COLOURS)]


def text_font(pixels: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font at this height, so that no font need be installed."""
    return ImageFont.load_default(pixels)


def _outline(box: Box | None) -> Rectangle | None:
    if box is None:
        return None
    return math.floor(box.x), math.floor(box.y), math.ceil(box.x + box.width), math.ceil(box.y + box.height)


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
        draw.rectangle((left + inset, top + inset, right - inset, bottom - inset), outline=colour, width=width)


def _draw_caption(draw: ImageDraw.ImageDraw, face: Prediction, text: str, taken: Sequence[Rectangle]) -> Rectangle:
    size = draw.im.size
    font, (width, height), pad = _fitted_font(draw, text, _text_height(face.box, size), size[0])
    place = _caption_place(face.box, (width, height), size, taken)
    right, bottom = place[0] + width - 1, place[1] + height - 1
    draw.rectangle((*place, right, bottom), fill=colour_of(face), outline=_BLACK)
    draw.text((place[0] + pad, place[1] + height / 2), text, fill=_BLACK, font=font, anchor="lm")
    return (*place, right, bottom)


def _text_height(box: Box | None, size: tuple[int, int]) -> int:
    least, largest = (share * max(size) for share in _TEXT_OF_PICTURE)
    wanted = largest if box is None else min(max(box.width * _TEXT_OF_FACE, least), largest)
    return max(_LEAST_TEXT, round(wanted))


def _fitted_font(
    draw: ImageDraw.ImageDraw, text: str, height: int, room: int
) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, tuple[int, int], int]:
    """The font of this height, or a smaller one with which the text has room; the size of its label and the margin."""
    for pixels in range(height, 5, -1):
        font = text_font(pixels)
        pad = max(2, pixels // 4)
        extent = (math.ceil(draw.textlength(text, font=font)) + 2 * pad, round(pixels * 1.3) + pad)
        if extent[0] <= room:
            break
    return font, extent, pad


def _caption_place(
    box: Box | None, extent: tuple[int, int], size: tuple[int, int], taken: Sequence[Rectangle]
) -> tuple[int, int]:
    """The top left corner: the first that is in the picture and free, else the first that is in it."""
    if box is None:
        return 0, 0
    room = max(0, size[0] - extent[0])
    lefts = (box.x, box.x + box.width - extent[0], box.x + (box.width - extent[0]) / 2)
    tops = (
        math.floor(box.y) - extent[1] + 1,
        math.ceil(box.y + box.height) - 1,
        math.floor(box.y),
        math.ceil(box.y + box.height) - extent[1],
    )
    corners = [
        (min(max(0, math.floor(left)), room), top) for top in tops for left in lefts if 0 <= top <= size[1] - extent[1]
    ] or [(min(max(0, math.floor(box.x)), room), 0)]
    return next((corner for corner in corners if _is_free(corner, extent, taken)), corners[0])


def _is_free(corner: tuple[int, int], extent: tuple[int, int], taken: Sequence[Rectangle]) -> bool:
    right, bottom = corner[0] + extent[0], corner[1] + extent[1]
    return not any(corner[0] < t[2] and t[0] < right and corner[1] < t[3] and t[1] < bottom for t in taken)
