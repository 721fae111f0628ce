"""A picture with some faces of each class of a dataset, to see whether its labels fit."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from motivnet.datasets.sample import Dataset, Sample
from motivnet.datasets.sampling import RandomStream, random_stream
from motivnet.errors import ConfigError, FileError, ImageError
from motivnet.files import write_atomic

_TILE = 112
_GAP = 6
_MARGIN = 20
_TITLE_HEIGHT = 44
_CAPTION_WIDTH = 132
_PAPER = (255, 255, 255)
_EMPTY = (240, 240, 240)
_INK = (30, 30, 30)
_FAINT = (120, 120, 120)


def check_sheet_name(path: Path) -> None:
    """Check that a file is named as a PNG image, before a dataset is read for it.

    Raises:
        ConfigError: If it is not.
    """
    if path.suffix.casefold() != ".png":
        raise ConfigError(f"{path} must end in .png, the format that picture sheets are written in")


def write_picture_sheet(path: Path, sheet: NDArray[np.uint8]) -> None:
    """Write a sheet as a PNG image that only this user may read, whole or not at all.

    Raises:
        ConfigError: If the file is not named as a PNG image.
        FileError: If it cannot be written.
    """
    check_sheet_name(path)
    _, encoded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    write_atomic(path, encoded.tobytes(), private=True)


def picture_sheet(dataset: Dataset, *, per_class: int = 8, seed: int = 0) -> NDArray[np.uint8]:
    """Return an RGB picture ``(H, W, 3)`` with a row per class: its name, size and some images.

    Images that cannot be read are left out.

    Raises:
        ConfigError: If less than one image per class is asked for.
    """
    if per_class < 1:
        raise ConfigError(
            f"a picture sheet shows at least one image of each class, not {per_class}"
        )
    name = _printable(dataset.root.resolve().name)
    title = f"{name}: {dataset.format}, {len(dataset.samples):,} images"
    faces_width = _CAPTION_WIDTH + per_class * (_TILE + _GAP) - _GAP
    width = 2 * _MARGIN + max(faces_width, round(_font(20).getlength(title)))
    height = 2 * _MARGIN + _TITLE_HEIGHT + len(dataset.labels) * (_TILE + _GAP) - _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN), title, fill=_INK, font=_font(20))
    for row, (label, count) in enumerate(dataset.counts().items()):
        top = _MARGIN + _TITLE_HEIGHT + row * (_TILE + _GAP)
        pen.text((_MARGIN, top + _TILE // 2 - 20), _printable(label), fill=_INK, font=_font(18))
        images = "1 image" if count == 1 else f"{count:,} images"
        pen.text((_MARGIN, top + _TILE // 2 + 4), images, fill=_FAINT, font=_font(14))
        of_class = [sample for sample in dataset.samples if sample.label == row]
        tiles = _tiles(of_class, per_class, random_stream(seed, RandomStream.SHEET, row))
        for column in range(per_class):
            left = _MARGIN + _CAPTION_WIDTH + column * (_TILE + _GAP)
            if column < len(tiles):
                sheet.paste(tiles[column], (left, top))
            else:
                pen.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), fill=_EMPTY)
    return np.array(sheet)


def _tiles(samples: list[Sample], count: int, random: np.random.Generator) -> list[Image.Image]:
    tiles: list[Image.Image] = []
    for index in random.permutation(len(samples)):
        if len(tiles) == count:
            break
        try:
            tiles.append(_tile(samples[index].pixels()))
        except (ImageError, FileError):
            continue
    return tiles


def _tile(pixels: NDArray[np.uint8]) -> Image.Image:
    """The whole image, as large as possible, in the middle of a square."""
    image = Image.fromarray(pixels)
    scale = _TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    tile = Image.new("RGB", (_TILE, _TILE), _EMPTY)
    small = image.resize(size, Image.Resampling.LANCZOS)
    tile.paste(small, ((_TILE - small.width) // 2, (_TILE - small.height) // 2))
    return tile


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
