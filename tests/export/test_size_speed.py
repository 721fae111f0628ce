"""Whether smaller images and fewer tokens save the time that their FLOP promise, at full size."""

from __future__ import annotations

import itertools
import statistics
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from motivnet.artifact import Artifact
from motivnet.config import ModelConfig
from motivnet_engines.runtimes.selection import default_runtime, open_runtime
from motivnet_export.build import build_artifact
from motivnet_export.request import BuildRequest

SIZES = [(1024, 768), (768, 576), (640, 480), (512, 384), (384, 288), (256, 192)]
ROUNDS = 3
SECONDS = 4.0


def seconds_per_image(artifact: Artifact) -> float:
    """The median of the calls in a few seconds, after one to warm up."""
    height, width = artifact.manifest.source.config.encoder.image_size
    image = np.random.default_rng(0).standard_normal((1, 3, height, width), np.float32)
    times: list[float] = []
    with open_runtime(artifact) as runtime:
        runtime.run({"image": image})
        while not times or sum(times) < SECONDS:
            began = time.perf_counter()
            runtime.run({"image": image})
            times.append(time.perf_counter() - began)
    return statistics.median(times)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_time_of_six_sizes_follows_their_flop(tmp_path: Path) -> None:
    artifacts = {
        size: build_artifact(
            BuildRequest(
                model="sapiens-0.3b",
                image_size=size,
                precision="fp16",
                num_images=1,
                out=tmp_path / f"{size[0]}",
            )
        )
        for size in SIZES
    }
    times: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    for number in range(ROUNDS):
        for size in SIZES if number % 2 == 0 else reversed(SIZES):
            times[size].append(seconds_per_image(artifacts[size]))

    base = ModelConfig.named("sapiens-0.3b")
    for size in SIZES:
        ratios = [whole / part for whole, part in zip(times[SIZES[0]], times[size], strict=True)]
        promised, faster = base.flop / base.at(size).flop, statistics.median(ratios)
        runtime = default_runtime(artifacts[size])
        print(
            f"{size[0]}x{size[1]}: {1000 * statistics.median(times[size]):.0f} ms with {runtime}, "
            f"{faster:.2f}x ({min(ratios):.2f} to {max(ratios):.2f}), FLOP {promised:.2f}x"
        )
        assert faster == pytest.approx(promised, rel=0.25) or faster > promised
        if size == (512, 384):
            assert faster >= 4.5
    assert all(
        statistics.median(times[small]) < statistics.median(times[large])
        for large, small in itertools.pairwise(SIZES)
    )
