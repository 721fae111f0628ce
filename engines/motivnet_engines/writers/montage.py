"""Montage sheets of the faces that were found, with their labels."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from motivnet.errors import FileError
from motivnet.prediction import Prediction
from motivnet_engines.faces.detector import square_crop
from motivnet_engines.writers.drawing import caption, colour_of, write_picture
from motivnet_engines.writers.face_labels import text_font

if TYPE_CHECKING:
    from motivnet_engines.video.decoding import Frame
    from motivnet_engines.video.results import FrameResult

TILE = 160
COLUMNS = 8
TILES_OF_A_SHEET = 96
MAX_SHEETS = 50
_BAND = 42
_GAP = 8
_BACKGROUND = (255, 255, 255)


class MontageWriter:
    """Collects faces and writes a sheet whenever one is full; the last one at ``close``.

    The sheets have the names of ``sheet_paths``; the suffix gives the format. If a sheet cannot be
    written, ``failure`` holds the error and later faces are only counted, because predictions must
    not end for it.
    """

    def __init__(self, path: Path) -> None:
        self.sheets: list[Path] = []
        self.left_out = 0
        self.failure: FileError | None = None
        self._path = path
        self._tiles: list[NDArray[np.uint8]] = []

    def add(
        self, pixels: NDArray[np.uint8], face: Prediction, *, name: str, detail: str = ""
    ) -> None:
        """Add a face of a picture; beyond the last sheet it is only counted in ``left_out``."""
        if self._is_full():  # a tile that is not shown is not drawn
            self.left_out += 1
        else:
            self.add_tile(face_tile(pixels, face, name=name, detail=detail))

    def add_tile(self, tile: NDArray[np.uint8]) -> None:
        """Add the result of ``face_tile``."""
        if self._is_full():
            self.left_out += 1
            return
        self._tiles.append(tile)
        if len(self._tiles) == TILES_OF_A_SHEET:
            self._write()

    def close(self) -> None:
        """Write the last sheet; without any face, one empty sheet."""
        if self._tiles or not (self.sheets or self.failure):
            self._write()

    def _is_full(self) -> bool:
        return self.failure is not None or len(self.sheets) == MAX_SHEETS

    def _write(self) -> None:
        path = sheet_paths(self._path)[len(self.sheets)]
        try:
            write_picture(sheet_of_tiles(self._tiles), path)
        except FileError as error:
            self.failure = error
        else:
            self.sheets.append(path)
        self._tiles = []


class BestFaces:
    """The best view of each face of a video, by the detector's score."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tiles: dict[int, tuple[float, NDArray[np.uint8]]] = {}

    def add(self, frame: Frame, result: FrameResult | None) -> None:
        """Take the faces of a frame, unless the result is that of an earlier one."""
        if result is None or result.index != frame.index:
            return
        for face in result.faces:
            score = face.prediction.score or 0.0
            if face.track not in self._tiles or score > self._tiles[face.track][0]:
                detail = f" #{face.track}, {frame.time:.2f} s"
                tile = face_tile(frame.pixels, face.prediction, name=self._name, detail=detail)
                self._tiles[face.track] = score, tile

    def add_to(self, montage: MontageWriter) -> None:
        """Add one tile per face, in the order in which they appeared."""
        for _, tile in self._tiles.values():
            montage.add_tile(tile)


def sheet_paths(path: Path) -> list[Path]:
    """Return the names of all possible sheets: the given one, ``sheet-2.png`` and so on."""
    return [path, *(path.with_stem(f"{path.stem}-{number}") for number in range(2, MAX_SHEETS + 1))]


def sheet_of_tiles(tiles: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return tiles in rows of at most ``COLUMNS``, on white; without a tile, an empty sheet."""
    columns = min(COLUMNS, max(1, len(tiles)))
    rows = max(1, math.ceil(len(tiles) / columns))
    width, height = TILE + _GAP, TILE + _BAND + _GAP
    sheet = np.full((rows * height + _GAP, columns * width + _GAP, 3), _BACKGROUND, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = _GAP + index // columns * height, _GAP + index % columns * width
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet


def sheets_text(sheets: Sequence[Path]) -> str:
    """Return the names of the sheets in one line: ``s.png and s-2.png to s-9.png``."""
    first, *others = map(str, sheets)
    if len(others) > 1:
        return f"{first} and {others[0]} to {others[-1]}"
    return " and ".join([first, *others])


def face_tile(
    pixels: NDArray[np.uint8], face: Prediction, *, name: str, detail: str = ""
) -> NDArray[np.uint8]:
    """Return a face of an RGB picture as the model sees it, above its label and the picture's name.

    Args:
        detail: Text after the name; only the name is shortened if there is too little room.
    """
    if face.box is None:
        crop = _fit_into_tile(pixels)
    else:
        crop = np.asarray(cv2.resize(square_crop(pixels, face.box), (TILE, TILE)), np.uint8)
    tile = Image.new("RGB", (TILE, TILE + _BAND), _BACKGROUND)
    tile.paste(Image.fromarray(crop))
    draw = ImageDraw.Draw(tile)
    draw.rectangle((0, TILE, TILE - 1, TILE + _BAND // 2), fill=colour_of(face))
    _write_line(draw, caption(face), top=TILE, fill=(0, 0, 0))
    _write_line(draw, name, top=TILE + _BAND // 2, fill=(90, 90, 90), end=detail)
    return np.asarray(tile)


def _write_line(
    draw: ImageDraw.ImageDraw, text: str, *, top: int, fill: tuple[int, int, int], end: str = ""
) -> None:
    font = text_font(15)
    line = _shorten(text, lambda part: draw.textlength(part + end, font=font) <= TILE - 8)
    draw.text((4, top + _BAND // 4), line + end, fill=fill, font=font, anchor="lm")


def _shorten(text: str, fits: Callable[[str], bool]) -> str:
    """Return the text, or both its ends: names of files differ at their ends."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    kept = len(shown)
    candidate = shown
    while not fits(candidate) and kept > 2:
        kept -= 1
        candidate = f"{shown[: kept // 2]}…{shown[len(shown) - (kept - kept // 2) :]}"
    return candidate


def _fit_into_tile(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the whole picture inside a tile, on white."""
    height, width = pixels.shape[:2]
    scale = TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    tile = np.full((TILE, TILE, 3), _BACKGROUND, np.uint8)
    top, left = (TILE - size[1]) // 2, (TILE - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = cv2.resize(
        pixels, size, interpolation=cv2.INTER_AREA
    )
    return tile


def short_names(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the shortest unique end of each path: ``a.jpg``, or ``d1/a.jpg`` and ``d2/a.jpg``."""
    full = {path: Path(os.path.abspath(path)).parts for path in paths}  # noqa: PTH100 - keeps links
    names: dict[Path, str] = {}
    open_paths, depth = dict(full), 0
    while open_paths:
        depth += 1
        ends = Counter(parts[-depth:] for parts in set(full.values()))
        for path, parts in list(open_paths.items()):
            if ends[parts[-depth:]] == 1 or depth >= len(parts):
                names[path] = str(Path(*parts[-depth:]))
                del open_paths[path]
    return names
