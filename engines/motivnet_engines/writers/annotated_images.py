"""Annotated copies, in a folder of their own."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from motivnet.box import Box
from motivnet.files import atomic_path
from motivnet.images import IMAGE_SUFFIXES
from motivnet.prediction import Prediction
from motivnet_engines.video.source import VIDEO_SUFFIXES
from motivnet_engines.writers.drawing import draw_faces

_READABLE_SIDE = 320
"""Pixels of the longer side; a caption does not fit into smaller pictures, whose copies are enlarged."""
_QUALITY = 92


def annotated_copies(paths: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Where in ``folder`` the copy of each file goes: its path below the folder that all of them
    have in common.

    So ``a/x.jpg`` and ``b/x.jpg`` stay apart, and the files of one folder keep their bare names. A
    video that is not MP4 gets ``.mp4`` after its name, and a file that is named as neither image
    nor video ``.png``.
    """
    absolute = {path: Path(os.path.abspath(path)) for path in paths}  # noqa: PTH100 - links stay as they are named
    if not absolute:
        return {}
    common = Path(os.path.commonpath([path.parent for path in absolute.values()]))
    return {
        path: folder / _name_of_copy(full.relative_to(common)) for path, full in absolute.items()
    }


def write_annotated(pixels: NDArray[np.uint8], copy: Path, faces: Sequence[Prediction]) -> None:
    """Writes a picture with its faces drawn into it, in the format that the name says.

    Raises:
        FileError: If it cannot be written.
    """
    picture = Image.fromarray(annotated_picture(pixels, faces))
    with atomic_path(copy, private=True) as temporary:
        picture.save(temporary, quality=_QUALITY)  # which PNG and BMP have no use for


def annotated_picture(pixels: NDArray[np.uint8], faces: Sequence[Prediction]) -> NDArray[np.uint8]:
    """The picture with its faces drawn in; a small one is enlarged by a whole number first."""
    factor = math.ceil(_READABLE_SIDE / max(pixels.shape[:2]))
    if factor > 1:
        size = pixels.shape[1] * factor, pixels.shape[0] * factor
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    return draw_faces(pixels, [_enlarged(face, factor) for face in faces])


def _enlarged(face: Prediction, factor: int) -> Prediction:
    if face.box is None:
        return face
    box = Box(**{name: value * factor for name, value in face.box.to_dict().items()})
    return replace(face, box=box)


def _name_of_copy(path: Path) -> Path:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES or suffix == ".mp4":
        return path
    return path.with_name(f"{path.name}{'.mp4' if suffix in VIDEO_SUFFIXES else '.png'}")
