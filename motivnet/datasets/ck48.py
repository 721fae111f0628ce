"""CK+48: the last three frames of CK+'s labelled sequences, cropped, in class folders."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePath

from motivnet.datasets import folder
from motivnet.datasets.image_folders import label_of_folder, visible
from motivnet.datasets.listing import Listing

_NAME = re.compile(r"(S\d{3})_\d{3}_\d{8}\.png", re.IGNORECASE)


def recognises(path: Path) -> bool:
    """Return whether class folders begin with files that are named as CK+'s frames."""
    return path.is_dir() and any(
        _NAME.fullmatch(file.name)
        for entry in visible(path)
        if entry.is_dir() and label_of_folder(entry.name)
        for file in visible(entry)[:1]
    )


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return the images of the class folders with the person that each name identifies.

    A file of another name is left out: its person could be in two splits.
    """
    found = folder.read(path, labels=labels)
    named = [(sample, _NAME.fullmatch(PurePath(sample.name).name)) for sample in found.samples]
    samples = tuple(replace(sample, person=match[1].upper()) for sample, match in named if match)
    skipped = dict(found.skipped)
    if others := len(named) - len(samples):
        skipped["not named as in CK+48"] = others
    return Listing(samples=samples, skipped=skipped)
