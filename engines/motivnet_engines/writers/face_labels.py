"""The position and the size of a face's label in a picture."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from PIL import ImageFont

from motivnet.prediction import Box

Rectangle: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom; the last two are exclusive."""

_SMALLEST_TEXT, _LEAST_TEXT = 6, 11
"""Least pixels of a text in a picture that is narrower than the text, and in any other."""
_TEXT_OF_PICTURE = 0.03
_TEXT_OF_FACE = 0.17
"""Largest height of a text, as a share of the picture's longer side and of the face's width."""
_BESIDE, _WITHIN, _NUMBER = 1.25, 1.0, 0.8
"""Width of a label beside its face, of one inside it and of a number, as shares of its width.

A text of the least height may be wider, but only beside its face.
"""
_HEIGHT_WITHIN = 0.35
"""Largest height of a label inside its face, as a share of the face's height."""
_MEASURED = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A text of this height and the rectangle that it fills, in pixels."""

    text: str
    pixels: int
    pad: int
    left: int
    top: int
    width: int
    height: int

    @property
    def rectangle(self) -> Rectangle:
        """The pixels that it covers."""
        return self.left, self.top, self.left + self.width, self.top + self.height


@functools.lru_cache(maxsize=64)
def text_font(pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's built-in font at this height, so that no font has to be installed."""
    return ImageFont.load_default(pixels)


def outline(box: Box) -> Rectangle:
    """Return the pixels that a box touches."""
    return (
        math.floor(box.x),
        math.floor(box.y),
        math.ceil(box.x + box.width),
        math.ceil(box.y + box.height),
    )


def label_of_picture(text: str, size: tuple[int, int]) -> Label:
    """Return the label of a face that is the whole picture, in the corner."""
    return _label(text, max(size) * _TEXT_OF_PICTURE, room=size[0], picture=size[0])


def label_of_face(
    texts: tuple[str, str],
    box: Box,
    size: tuple[int, int],
    *,
    faces: Sequence[Rectangle],
    labels: Sequence[Rectangle],
) -> Label | None:
    """Return the first text beside or inside the face, else the second inside it, else None.

    Args:
        texts: The caption, and a number.
        size: Width and height of the picture.
        faces: Outlines of the other faces, which a label beside this one must not cover.
        labels: Labels already placed, which no label may cover.
    """
    wanted = min(max(size) * _TEXT_OF_PICTURE, box.width * _TEXT_OF_FACE)
    beside = _label(texts[0], wanted, room=box.width * _BESIDE, picture=size[0])
    corners = _corners_beside(box, beside, size)
    if (placed := _place(beside, corners, [*faces, *labels], size)) is not None:
        return placed
    for text, share in zip(texts, (_WITHIN, _NUMBER), strict=True):
        within = _label(text, wanted, room=box.width * share, picture=size[0])
        if within.width > box.width * share or within.height > box.height * _HEIGHT_WITHIN:
            continue
        corners = _corners_within(box, within, size)
        if (placed := _place(within, corners, labels, size)) is not None:
            return placed
    return None


def _label(text: str, wanted: float, *, room: float, picture: int) -> Label:
    """Return a label at the origin; if legible, no higher than wanted and as wide as the room."""
    # Width of the text with its padding, per pixel of height.
    across = text_font(_MEASURED).getlength(text) / _MEASURED + 0.5
    pixels = max(_LEAST_TEXT, math.floor(min(wanted, room / across)))
    pixels = max(_SMALLEST_TEXT, min(pixels, math.floor(picture / across)))
    pad = max(2, pixels // 4)
    width = math.ceil(text_font(pixels).getlength(text)) + 2 * pad
    return Label(
        text=text,
        pixels=pixels,
        pad=pad,
        left=0,
        top=0,
        width=width,
        height=round(pixels * 1.3) + pad,
    )


def _corners_beside(box: Box, label: Label, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield top left corners above and below the face, overlapping the line of its box."""
    tops = math.floor(box.y) - label.height + 1, math.ceil(box.y + box.height) - 1
    return ((left, top) for top in tops for left in _lefts(box, label, size))


def _corners_within(box: Box, label: Label, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield top left corners at the lower and the upper edge of the visible part of the face."""
    bottom = min(math.ceil(box.y + box.height), size[1]) - label.height
    tops = bottom, max(0, math.floor(box.y))
    return ((left, top) for top in tops for left in _lefts(box, label, size))


def _lefts(box: Box, label: Label, size: tuple[int, int]) -> Iterator[int]:
    for x in (box.x, box.x + box.width - label.width, box.x + (box.width - label.width) / 2):
        yield min(max(0, math.floor(x)), max(0, size[0] - label.width))


def _place(
    label: Label,
    corners: Iterator[tuple[int, int]],
    taken: Sequence[Rectangle],
    size: tuple[int, int],
) -> Label | None:
    """Return the label at the first corner where it is in the picture and covers nothing taken."""
    for left, top in corners:
        right, bottom = left + label.width, top + label.height
        if top < 0 or right > size[0] or bottom > size[1]:
            continue
        if not any(left < t[2] and t[0] < right and top < t[3] and t[1] < bottom for t in taken):
            return replace(label, left=left, top=top)
    return None
