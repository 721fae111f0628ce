"""HEIC images through pillow-heif, which is imported only where such an image is met."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL.ImageFile import ImageFile

from motivnet.errors import MissingDependencyError

try:
    from pillow_heif.as_plugin import HeifImageFile
except ImportError as error:
    raise MissingDependencyError("pillow-heif", extra="heic") from error

open_heic: Callable[[io.BytesIO], ImageFile] = HeifImageFile
"""Returns a HEIC image, of which only the header was read; libheif turns it upright itself."""
