"""The London photos with their boxes, and the detector that finds them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from motivnet.images import read_image
from motivnet.prediction import Box
from motivnet_engines.faces import open_detector
from motivnet_engines.faces.detector import FaceDetector

Photo = tuple[np.ndarray, Box]


@pytest.fixture(scope="session")
def detector() -> FaceDetector:
    return open_detector()


@pytest.fixture(scope="session")
def london(shared_dir: Path) -> Callable[..., list[Photo]]:
    """A function that gives every nth photo and where its face is."""
    folder = shared_dir / "data" / "london"
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    def photos(*, every: int = 1) -> list[Photo]:
        return [(read_image(folder / row["file"]), _box(row)) for row in rows[::every]]

    return photos


def _box(row: dict[str, str]) -> Box:
    sides = ("x", "y", "w", "h")
    return Box(
        **dict(
            zip(
                ("x", "y", "width", "height"),
                (float(row[f"yunet_{side}"]) for side in sides),
                strict=True,
            )
        )
    )
