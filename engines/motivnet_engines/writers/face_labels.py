"""Where the label of a face has room in a picture, and how large it is."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from PIL import ImageFont

from motivnet.box import Box

Rectangle: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom; the last two are just outside."""

_SMALLEST_TEXT, _LEAST_TEXT = 6, 11
"""Pixels of a text in a picture that is narrower than it, and of any other."""
_TEXT_OF_PICTURE = 0.03
"""Largest height of a text, as a share of the picture's longer side; below that it goes by the face's width."""
_TEXT_OF_FACE = 0.17
_BESIDE, _WITHIN, _NUMBER = 1.25, 1.0, 0.8
"""Width of a label beside its face, of one within it and of a number, as shares of the face's
width.

A text of the least height may be wider, but only beside its face.
"""
_HEIGHT_WITHIN = 0.35
"""Largest height of a label within its face, as a share of the face's height."""
_MEASURED = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A text of this height and the rectangle that it is to fill, in pixels."""

    text: str
    pixels: int
    pad: int
    left: int
    top: int
    width: int
    height: int

    @property
    def rectangle(self) -> Rectangle:
        """What it covers."""
        return self.left, self.top, self.left + self.width, self.top + self.height


@functools.lru_cache(maxsize=64)
def text_font(pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font at this height, so that no font need be installed."""
    return ImageFont.load_default(pixels)


def outline(box: Box) -> Rectangle:
    """The whole pixels that a box touches."""
    return (
        math.floor(box.x),
        math.floor(box.y),
        math.ceil(box.x + box.width),
        math.ceil(box.y + box.height),
    )


def label_of_picture(text: str, size: tuple[int, int]) -> Label:
    """The label of a face that is the whole picture: in the corner."""
    return _label(text, max(size) * _TEXT_OF_PICTURE, room=size[0], picture=size[0])


def label_of_face(
    texts: tuple[str, str],
    box: Box,
    size: tuple[int, int],
    *,
    faces: Sequence[Rectangle],
    labels: Sequence[Rectangle],
) -> Label | None:
    """The first text beside the face or within it, else the second within it; None if nothing has
    room.

    Args:
        texts: All that is to be said, and a number.
        size: Width and height of the picture.
        faces: Outlines of the other faces: nothing beside this one covers them.
        labels: What has been placed: nothing covers it.
    """
    wanted = min(max(size) * _TEXT_OF_PICTURE, box.width * _TEXT_OF_FACE)
    beside = _label(texts[0], wanted, room=box.width * _BESIDE, picture=size[0])
    if (
        place := _first_free(_corners_beside(box, beside, size), beside, [*faces, *labels], size)
    ) is not None:
        return place
    for text, share in zip(texts, (_WITHIN, _NUMBER), strict=True):
        within = _label(text, wanted, room=box.width * share, picture=size[0])
        if within.width <= box.width * share and within.height <= box.height * _HEIGHT_WITHIN:
            place = _first_free(_corners_within(box, within, size), within, labels, size)
            if place is not None:
                return place
    return None


def _label(text: str, wanted: float, *, room: float, picture: int) -> Label:
    """A label in the corner, of a text that is no higher than wanted and as wide as the room if that can be read."""
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
    """Top left corners above the face and below it, one line of the box covered; left, right and in the middle."""
    tops = math.floor(box.y) - label.height + 1, math.ceil(box.y + box.height) - 1
    return ((left, top) for top in tops for left in _lefts(box, label, size))


def _corners_within(box: Box, label: Label, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Top left corners at the lower and the upper edge of what is seen of the face."""
    bottom = min(math.ceil(box.y + box.height), size[1]) - label.height
    tops = bottom, max(0, math.floor(box.y))
    return ((left, top) for top in tops for left in _lefts(box, label, size))


def _lefts(box: Box, label: Label, size: tuple[int, int]) -> Iterator[int]:
    for x in (box.x, box.x + box.width - label.width, box.x + (box.width - label.width) / 2):
        yield min(max(0, math.floor(x)), max(0, size[0] - label.width))


def _first_free(
    corners: Iterator[tuple[int, int]],
    label: Label,
    taken: Sequence[Rectangle],
    size: tuple[int, int],
) -> Label | None:
    for left, top in corners:
        right, bottom = left + label.width, top + label.height
        in_picture = top >= 0 and right <= size[0] and bottom <= size[1]
        if in_picture and not any(
            left < t[2] and t[0] < right and top < t[3] and t[1] < bottom for t in taken
        ):
            return replace(label, left=left, top=top)
    return None
