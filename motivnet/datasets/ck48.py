"""CK+48: the last three frames of CK+'s labelled sequences, cropped, in class folders."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePath

from motivnet.datasets import class_folders
from motivnet.datasets.image_folders import subfolders, visible
from motivnet.datasets.left_out import LeftOut, tally
from motivnet.datasets.listing import Listing
from motivnet.labels import label_from_name

_NAME = re.compile(r"(S\d{3})_\d{3}_\d{8}\.png", re.IGNORECASE)


def recognises(path: Path) -> bool:
    """Return whether class folders begin with files that are named as CK+'s frames."""
    return path.is_dir() and any(
        _NAME.fullmatch(file.name)
        for entry in subfolders(path)
        if label_from_name(entry.name)
        for file in visible(entry)[:1]
    )


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return the images of the class folders with the person that each name identifies.

    A file of another name is left out: its person could be in two splits.
    """
    found = class_folders.read(path, labels=labels)
    named = [(sample, _NAME.fullmatch(PurePath(sample.name).name)) for sample in found.samples]
    samples = tuple(replace(sample, person=match[1].upper()) for sample, match in named if match)
    others = tally(
        LeftOut("not named as in CK+48", sample.name) for sample, match in named if not match
    )
    return Listing(samples=samples, left_out=found.left_out | others)
