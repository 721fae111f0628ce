"""CK+48: the last three frames of CK+'s labelled sequences, cropped, in class folders."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from motivnet.datasets import folder
from motivnet.datasets.image_folders import label_of_folder, visible
from motivnet.datasets.listing import Listing
from motivnet.datasets.sample import Sample

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
    samples = tuple(
        sample for sample in map(_with_person, found.samples) if sample.person is not None
    )
    others = len(found.samples) - len(samples)
    return Listing(
        samples=samples,
        skipped=found.skipped | ({"not named as in CK+48": others} if others else {}),
    )


def _with_person(sample: Sample) -> Sample:
    match = _NAME.fullmatch(sample.name.rpartition("/")[2])
    return sample if match is None else replace(sample, person=match[1].upper())
