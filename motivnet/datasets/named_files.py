"""Datasets whose file names tell the emotion and the person, in one folder or in any folders."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from motivnet.datasets.image_folders import ImageFiles, first_images, walk_images
from motivnet.datasets.left_out import LeftOut
from motivnet.datasets.listing import LabelledImage, Listing, collect


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFiles:
    """How a dataset names its files.

    ``pattern`` has the groups ``person`` and ``emotion``, a code of ``emotions``.
    """

    dataset: str
    pattern: re.Pattern[str]
    emotions: Mapping[str, str]

    def recognises(self, path: Path) -> bool:
        """Return whether a file here has such a name, or all that are looked at in folders."""
        if not path.is_dir():
            return False
        files = first_images(path)
        below = [file for file in files if file.parent != path]
        return any(self._matches(file) for file in files if file.parent == path) or (
            bool(below) and all(map(self._matches, below))
        )

    def read(self, path: Path, *, labels: tuple[str, ...]) -> Listing:
        """Return the images at every depth, with the person.

        Raises:
            FileError: If a folder cannot be read.
        """
        found = walk_images(path)
        found.refuse_unreadable()
        return collect(self._images(found), labels=labels, hidden=found.rubbish)

    def _matches(self, file: Path) -> bool:
        return self.pattern.fullmatch(file.name) is not None

    def _images(self, found: ImageFiles) -> Iterator[LabelledImage | LeftOut]:
        yield from found.left_out
        for file in found.files:
            name = file.relative_to(found.folder).as_posix()
            match = self.pattern.fullmatch(file.name)
            if match is None:
                yield LeftOut(f"not named as in {self.dataset}", name)
            else:
                emotion = self.emotions[match["emotion"].upper()]
                person = match["person"].upper()
                yield LabelledImage(name=name, image=file, emotion=emotion, person=person)
