"""The benchmark's process of a runtime in the browser; here, because the folder is made here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from playwright.sync_api import Playwright

from motivnet.config import ModelConfig
from motivnet_bench.latency.candidate_process import CandidateProcess
from motivnet_bench.latency.candidates import Candidate, choose_candidates
from motivnet_bench.latency.measure import Options
from motivnet_bench.latency.worker import ArtifactModel
from motivnet_bench.target import target_from_artifact

pytestmark = [pytest.mark.browser, pytest.mark.process]

TINY = ModelConfig.named("tiny")


@pytest.fixture
def inputs() -> Iterator[Path]:
    """A file in a folder that the process may use; Chromium's sockets allow no long path."""
    with tempfile.TemporaryDirectory(prefix="web-") as folder:
        path = Path(folder, "inputs.npy")
        np.save(path, np.zeros((1, 3, 128, 96), np.float32))
        yield path


def runs(pid: int) -> bool:
    """Whether a process is there and not only waits for its parent to take note of its end."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def measured(folder: Path, runtime: str, inputs: Path) -> tuple[CandidateProcess, list[int]]:
    model = ArtifactModel(folder=str(folder), runtime=runtime)
    process = CandidateProcess(
        Candidate(name=runtime, role="runtime", model=model), threads=1, timeout=120
    )
    process.open(inputs, warmup=1, config=TINY)
    own = process.process_id
    children = psutil.Process(own).children(recursive=True) if own is not None else []
    process.measure(0.2)
    return process, [child.pid for child in children]


def test_a_browser_is_measured_and_ends_with_its_process(
    playwright: Playwright, web_folder: Path, inputs: Path
) -> None:
    process, children = measured(web_folder, "web-wasm", inputs)
    found = process.finish()
    assert found.error is None
    assert found.opened is not None
    assert (found.opened.compute, found.opened.device) == ("float32", "cpu")
    assert len(found.rounds[0]) >= 1
    assert found.peak_memory > 200_000_000  # a browser's, not that of Python alone
    assert len(children) > 2
    assert not [pid for pid in children if runs(pid)]
    assert {path.name for path in inputs.parent.iterdir()} == {"inputs.npy"}


def test_what_a_browser_lacks_is_the_reason_of_its_row(
    playwright: Playwright, web_folder: Path, fp32_artifact: Path, inputs: Path
) -> None:
    for folder, runtime, reason in (
        (web_folder, "web-webgpu", "was built without the files for WebGPU"),
        (fp32_artifact, "web-wasm", "is not for the browser"),
    ):
        process, _ = measured(folder, runtime, inputs)
        assert reason in str(process.finish().error)


def test_browsers_are_measured_only_when_they_are_named(
    web_folder: Path, tiny_checkpoint: Path
) -> None:
    target = target_from_artifact(web_folder, checkpoint=tiny_checkpoint)
    unasked = choose_candidates(target, device="cpu")
    assert not {each.name for each in unasked} & {"web-wasm", "web-webgpu"}
    named = Options(runtimes=("onnxruntime", "web-wasm")).runtimes
    found = choose_candidates(target, device="cpu", runtimes=named)
    assert [(each.name, each.parity) for each in found] == [
        ("onnxruntime", "verified"),
        ("web-wasm", "unverified"),
    ]
