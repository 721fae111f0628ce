"""Version-compatible engines run only on the lean runtime of the version that built them."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulated_trt import write_lean_library
from simulated_trt.fixtures import (
    assert_same,
    engine_artifact,
    expected_of,
    images_of,
    opened,
    tensorrt,
)

from motivnet.errors import EngineError, RuntimeUnavailableError
from motivnet_engines.runtimes.tensorrt import compatibility
from motivnet_engines.runtimes.tensorrt import engine as engine_module

__all__ = ["engine_artifact", "opened", "tensorrt"]

BUILT, NEWER = "10.12.0.36", "10.16.1.11"
MISSING = (
    f"the tensorrt engine is version-compatible and runs on the lean runtime of TensorRT {BUILT}, "
    f"which is not installed; install tensorrt-lean=={BUILT}, or set MOTIVNET_TENSORRT_LEAN to the "
    "path of its libnvinfer_lean.so.10"
)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lean runtime of the builder's version, under another name, as the environment says."""
    path = tmp_path / "lean.so"
    write_lean_library(path, BUILT)
    monkeypatch.setenv(compatibility.LEAN_VARIABLE, str(path))
    return path


@pytest.mark.parametrize("version", [BUILT, NEWER])
def test_it_runs_on_the_lean_runtime_of_its_builder(
    version: str, library: Path, tensorrt, engine_artifact, opened
) -> None:
    simulation = tensorrt(version=version)
    artifact = engine_artifact(version=BUILT, version_compatible=True)
    array = images_of(artifact, 3)
    assert_same(opened(artifact).run({"image": array}), expected_of(artifact, array))
    assert simulation.made["lean runtime"] == 1


def test_other_engines_load_no_lean_runtime(
    library: Path, tensorrt, engine_artifact, opened
) -> None:
    simulation = tensorrt()
    opened(engine_artifact())
    assert simulation.made["lean runtime"] == 0


def test_without_the_library_it_is_refused_before_anything_is_loaded(
    tensorrt, engine_artifact, opened
) -> None:
    simulation = tensorrt(version=NEWER)
    with pytest.raises(RuntimeUnavailableError) as raised:
        opened(engine_artifact(version=BUILT, version_compatible=True))
    assert str(raised.value) == MISSING
    assert not simulation.made


def test_a_library_of_another_version_does_not_take_it(
    library: Path, fake, tensorrt, engine_artifact, opened
) -> None:
    simulation = tensorrt(version=NEWER)
    write_lean_library(library, NEWER)
    with pytest.raises(EngineError, match="does not take the engine"):
        opened(engine_artifact(version=BUILT, version_compatible=True))
    fake.assert_clean()
    simulation.assert_clean()


def test_a_library_that_tensorrt_does_not_load_is_named(
    library: Path, fake, tensorrt, engine_artifact, opened
) -> None:
    simulation = tensorrt(version=NEWER)
    simulation.fail_next("load_runtime")
    with pytest.raises(
        RuntimeUnavailableError,
        match=rf"{NEWER} cannot load the lean runtime {library}: .*told to fail",
    ):
        opened(engine_artifact(version=BUILT, version_compatible=True))
    fake.assert_clean()
    simulation.assert_clean()


def test_the_packages_own_runtime_does_not_run_it(
    library: Path, tensorrt, engine_artifact, opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorrt(version=BUILT)
    monkeypatch.setattr(engine_module, "needs_lean_runtime", lambda _: False)
    with pytest.raises(EngineError, match="does not take the engine"):
        opened(engine_artifact(version=BUILT, version_compatible=True))
