"""What ten thousand runs leave behind on the device and in the process: nothing."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from motivnet.artifact.engine_entry import EngineBackend
from motivnet_engines.runtimes.registry import open_backend
from motivnet_engines.runtimes.signature import input_from_pixels
from motivnet_engines.runtimes.tensorrt.runtime import TensorRTRuntime

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu"), pytest.mark.timeout(3600)]

BACKENDS: tuple[EngineBackend, ...] = ("tensorrt", "tensorrt-rtx")
RUNS = 10_000
SLACK = 4 << 20
"""Bytes of the device that the driver and other processes may move by themselves."""


@pytest.mark.parametrize("cuda_graphs", [True, False], ids=["graphs", "no-graphs"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_ten_thousand_runs_take_no_memory(
    backend: EngineBackend,
    cuda_graphs: bool,
    artifact_of: Any,
    subject_of: Any,
    free_memory: Callable[[], int],
) -> None:
    artifact, pixels = artifact_of("tiny", "fp16", backend), subject_of("tiny").pixels
    entry = artifact.manifest.input
    inputs = [{entry.name: input_from_pixels(entry, pixels[:batch])} for batch in (1, 3, 8, 19)]
    process = psutil.Process()
    with TensorRTRuntime(artifact, backend=backend, cuda_graphs=cuda_graphs) as runtime:
        for _ in range(100):
            for each in inputs:
                runtime.run(each)
        gc.collect()
        device, host = free_memory(), process.memory_info().rss
        for index in range(RUNS):
            runtime.run(inputs[index % len(inputs)])
        gc.collect()
        lost, grown = device - free_memory(), process.memory_info().rss - host
    print(f"\n{RUNS} runs: {lost:,} bytes of the device, {grown:,} of the process")
    assert lost <= SLACK
    assert grown <= 64 << 20


@pytest.mark.parametrize("backend", BACKENDS)
def test_opening_and_closing_gives_all_back(
    backend: EngineBackend, artifact_of: Any, subject_of: Any, free_memory: Callable[[], int]
) -> None:
    artifact, pixels = artifact_of("tiny", "fp16", backend), subject_of("tiny").pixels
    entry = artifact.manifest.input

    def once() -> None:
        with open_backend(backend, artifact) as runtime:
            for _ in range(3):
                runtime.run({entry.name: input_from_pixels(entry, pixels[:8])})

    for _ in range(3):
        once()
    gc.collect()
    before = free_memory()
    for _ in range(20):
        once()
    gc.collect()
    assert before - free_memory() <= SLACK
