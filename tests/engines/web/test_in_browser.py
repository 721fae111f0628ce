"""What a headless browser computes with the folder's library, compared with PyTorch by Python."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Playwright
from typer.testing import CliRunner

from motivnet.artifact import open_artifact
from motivnet.artifact.reference import read_reference
from motivnet.errors import (
    ArtifactError,
    ConfigError,
    InputError,
    MissingDependencyError,
    MotivNetError,
    RuntimeUnavailableError,
)
from motivnet_engines.browser import chromium as chromium_module
from motivnet_engines.cli import app
from motivnet_engines.diagnostics.inspect import inspect_artifact
from motivnet_engines.runtimes.registry import open_backend
from motivnet_engines.verification.parity_run import runtimes_in_browser, verify_on_device

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def _has_chromium(playwright: Playwright) -> None:
    """Skips where there is none; a second Playwright runs in the same process."""


def test_logits_are_those_of_pytorch_within_a_ten_thousandth(web_folder: Path) -> None:
    artifact = open_artifact(web_folder)
    reference, entry = read_reference(artifact), artifact.manifest.input
    inputs = entry.preprocessing.normalise(reference.pixels)
    with open_backend("web-wasm", artifact, threads=1) as runtime:
        assert (runtime.name, runtime.compute) == ("web-wasm", "float32")
        outputs = runtime.run({entry.name: inputs})
        again = runtime.run({entry.name: inputs})
        single = runtime.run({entry.name: inputs[-1:]})
        with pytest.raises(InputError, match="must be float32"):
            runtime.run({entry.name: inputs[:, :1]})
    assert np.abs(outputs["logits"] - reference.logits).max() < 1e-4
    assert np.abs(outputs["embedding"] - reference.embedding).max() < 1e-3
    assert np.array_equal(outputs["logits"], again["logits"])
    assert np.allclose(single["logits"], outputs["logits"][-1:], atol=1e-5)
    with pytest.raises(RuntimeUnavailableError, match="the web-wasm runtime is closed"):
        runtime.run({entry.name: inputs})


def test_fp16_is_within_its_tolerance(fp16_web_folder: Path) -> None:
    """The library itself opens only what is within it."""
    artifact = open_artifact(fp16_web_folder)
    assert set(artifact.manifest.graph.compute_nodes) == {"float16"}
    [row] = verify_on_device(artifact, runtimes=["web-wasm"]).comparisons
    assert row.passed
    assert 1e-7 < row.logit_max_abs < 0.02


def test_verify_writes_the_verdict_into_the_manifest(own_folder: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(own_folder), "--in-browser"])
    assert result.exit_code == 0, result.output
    assert "web-wasm (float32)" in result.output
    [row] = [
        row
        for row in open_artifact(own_folder).manifest.parity.comparisons
        if row.backend == "web-wasm"
    ]
    assert (row.passed, row.evidence) == (True, "graph")
    assert row.logit_max_abs < 1e-4
    statuses = {each.name: each for each in inspect_artifact(own_folder).runtimes}
    assert statuses["web-wasm"].parity == "verified"
    assert not statuses["web-wasm"].default
    # The hashes that the page checks are still right.
    with open_backend("web-wasm", open_artifact(own_folder)):
        pass


def test_a_model_that_was_exchanged_is_not_run(own_folder: Path) -> None:
    model = own_folder / "model.onnx"
    data = bytearray(model.read_bytes())
    data[-100] ^= 1
    model.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"model\.onnx is not the file"):
        verify_on_device(open_artifact(own_folder), runtimes=["web-wasm"])
    with pytest.raises(RuntimeUnavailableError, match=r"model\.onnx is not the one that this"):
        open_backend("web-wasm", open_artifact(own_folder))  # the library's own check


def test_a_folder_without_webgpu_is_compared_without_it(web_folder: Path) -> None:
    artifact = open_artifact(web_folder)
    assert runtimes_in_browser(artifact) == ("web-wasm",)
    with pytest.raises(RuntimeUnavailableError, match="without the files for WebGPU"):
        open_backend("web-webgpu", artifact)


def test_an_artifact_that_is_not_for_the_browser_is_refused(fp32_artifact: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(fp32_artifact), "--in-browser"])
    assert isinstance(result.exception, RuntimeUnavailableError)
    assert "build one that is with: motivnet-export build --target web" in str(result.exception)
    names = {each.name for each in inspect_artifact(fp32_artifact).runtimes}
    assert not names & {"web-wasm", "web-webgpu"}


def test_both_options_contradict_each_other(web_folder: Path) -> None:
    arguments = ["verify", str(web_folder), "--in-browser", "--runtime", "onnxruntime"]
    assert isinstance(CliRunner().invoke(app, arguments).exception, ConfigError)


def test_without_chromium_the_message_says_how_to_get_one(
    web_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", "/nonexistent")
    monkeypatch.setattr(chromium_module.shutil, "which", lambda _: None)
    with pytest.raises(RuntimeUnavailableError, match="playwright install chromium"):
        open_backend("web-wasm", open_artifact(web_folder))


def test_without_playwright_the_message_names_the_extra(
    web_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'motivnet\[browser\]'"):
        open_backend("web-wasm", open_artifact(web_folder))


def test_predictions_do_not_run_in_a_browser(web_folder: Path) -> None:
    picture = shutil.which("true") or ""
    arguments = ["predict", picture, "--artifact", str(web_folder), "--runtime", "web-wasm"]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, MotivNetError)
    assert "no runtime is called 'web-wasm'" in str(error)
