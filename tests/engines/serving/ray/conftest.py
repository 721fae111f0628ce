"""One local Ray of two cores for all tests, and a dataset with two unreadable images."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# How often, in seconds, Ray Serve's controller learns how many requests are in work.
os.environ["RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S"] = "1"
os.environ["RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S"] = "1"
IMAGES = 160


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a local Ray of two cores."""
    import ray

    context: Any = ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
    )
    yield context.address_info["address"]
    ray.shutdown()


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images of many sizes and colours, two of which are not images."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for index in range(IMAGES - 2):
        height, width = generator.integers(40, 120, 2)
        pixels = generator.integers(0, 128, (1, 1, 3)) + generator.integers(
            0, 128, (height, width, 3)
        )
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index:04d}.png")
    (folder / "0007_text.png").write_text("a text")
    (folder / "0031_empty.png").touch()
    return folder


@pytest.fixture
def processes_named() -> Callable[[str], list[psutil.Process]]:
    """A function that returns our Ray processes whose title begins so."""

    def found(title: str) -> list[psutil.Process]:
        matching: list[psutil.Process] = []
        for process in psutil.Process().children(recursive=True):
            try:
                words: list[Any] = process.cmdline()
            except psutil.Error:
                continue
            if words and words[0].startswith(title):
                matching.append(process)
        return matching

    return found
