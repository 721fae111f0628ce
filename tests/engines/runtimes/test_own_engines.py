"""An engine is native code: it runs if this user built it here, or named or trusted it."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from motivnet.artifact import Artifact
from motivnet.errors import FileError, RuntimeUnavailableError
from motivnet_engines.diagnostics.inspect import inspect_artifact
from motivnet_engines.runtimes import registry
from motivnet_engines.runtimes.own_engines import is_own_engine, remember_engine
from motivnet_engines.runtimes.selection import default_runtime, installed_runtimes, open_runtime
from motivnet_engines.verification.parity_run import verify_on_device

SHA = "ab" * 32
TENSORRT = "motivnet_engines.runtimes.tensorrt"


class NativeCodeRanError(Exception):
    """Raised where TensorRT would load the engine."""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "motivnet" / "engines"


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch, state: Path, fp16_artifact: Path) -> None:
    """TensorRT and its GPU, as far as the choice of a runtime sees them."""

    def only_tensorrt(_: Any, backend: str) -> None:
        if backend != "tensorrt":
            raise RuntimeUnavailableError("no")

    def opened(*_: Any, **__: Any) -> Any:
        raise NativeCodeRanError

    monkeypatch.setitem(registry._PACKAGES, "tensorrt", ("json", "trt"))
    monkeypatch.setattr(registry, "check_engine", only_tensorrt)
    monkeypatch.setattr(f"{TENSORRT}.runtime.TensorRTRuntime", opened)


def alone(artifact: Artifact) -> Artifact:
    """The artifact as a device has it whose engine was built elsewhere."""
    [engine] = artifact.manifest.engines
    manifest = msgspec.structs.replace(artifact.manifest, kind="engine", model=engine.path)
    return dataclasses.replace(artifact, manifest=manifest)


def engine_sha256(artifact: Artifact) -> str:
    return artifact.manifest.entry("model.tensorrt.engine").sha256


def test_what_is_remembered_is_ones_own_and_private(state: Path) -> None:
    assert not is_own_engine(SHA)
    remember_engine(SHA)
    remember_engine(SHA)
    assert is_own_engine(SHA)
    assert not is_own_engine("cd" * 32)
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert [
        (path.name, path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in state.iterdir()
    ] == [(SHA, b"", 0o600)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.chmod(0o777),
        lambda state: state.parent.chmod(0o772),
        lambda state: (
            (state / SHA).rename(state / "elsewhere") and (state / SHA).symlink_to("elsewhere")
        ),
        lambda state: ((state / SHA).unlink(), (state / SHA).mkdir()),
    ],
    ids=["others may write", "others may write above", "a link", "a folder"],
)
def test_a_record_that_others_could_have_written_does_not_count(state: Path, damage: Any) -> None:
    remember_engine(SHA)
    damage(state)
    assert not is_own_engine(SHA)


def test_without_a_home_nothing_is_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "relative")
    assert not is_own_engine(SHA)
    with pytest.raises(FileError, match="this user has no home folder; set XDG_STATE_HOME"):
        remember_engine(SHA)


def test_a_strangers_engine_is_skipped_with_one_line(
    engine_artifact: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    assert default_runtime(engine_artifact) == "openvino"
    assert "tensorrt" not in installed_runtimes(engine_artifact)
    [line] = caplog.messages
    assert line.startswith(
        f"the tensorrt engine of {engine_artifact.folder} is not used, as this user did not build"
    )
    assert "name it with --runtime tensorrt or give --trust-engines" in line
    with open_runtime(engine_artifact, threads=1) as runtime:
        assert runtime.name == "openvino"


def test_no_word_is_said_of_an_engine_that_could_not_run_anyway(
    engine_artifact: Artifact, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(registry._PACKAGES, "tensorrt", ("no_such_package", "trt"))
    assert default_runtime(engine_artifact) == "openvino"
    assert caplog.messages == []


@pytest.mark.parametrize("trust", [{"runtime": "tensorrt"}, {"trust_engines": True}], ids=str)
def test_a_strangers_engine_runs_once_it_is_named_or_trusted(
    engine_artifact: Artifact, trust: dict[str, Any]
) -> None:
    with pytest.raises(NativeCodeRanError):
        open_runtime(engine_artifact, **trust)


def test_an_engine_that_this_user_built_is_chosen_unasked(engine_artifact: Artifact) -> None:
    remember_engine(engine_sha256(engine_artifact))
    assert default_runtime(engine_artifact) == "tensorrt"
    with pytest.raises(NativeCodeRanError):
        open_runtime(engine_artifact)


def test_a_strangers_engine_alone_says_how_to_run_it(engine_artifact: Artifact) -> None:
    with pytest.raises(
        RuntimeUnavailableError,
        match=r"only a tensorrt engine .*--runtime tensorrt.*--trust-engines",
    ):
        open_runtime(alone(engine_artifact))
    assert default_runtime(alone(engine_artifact), trust_engines=True) == "tensorrt"


def test_verify_runs_a_strangers_engine_only_where_it_is_asked_to(
    engine_artifact: Artifact,
) -> None:
    found = verify_on_device(engine_artifact)
    assert "tensorrt" not in {row.backend for row in found.comparisons}
    for options in ({"runtimes": ["tensorrt"]}, {"trust_engines": True}):
        with pytest.raises(NativeCodeRanError):
            verify_on_device(engine_artifact, **options)  # type: ignore[arg-type]
    with pytest.raises(RuntimeUnavailableError, match="--runtime tensorrt"):
        verify_on_device(alone(engine_artifact))


def test_info_says_why_a_strangers_engine_is_not_the_default(engine_artifact: Artifact) -> None:
    def status(**options: bool) -> tuple[str | None, bool]:
        found = {
            status.name: status
            for status in inspect_artifact(engine_artifact.folder, **options).runtimes
        }
        return found["tensorrt"].missing_requirement, found["tensorrt"].default

    missing, default = status()
    assert missing is not None
    assert "this user did not build it on this machine" in missing
    assert not default
    assert status(trust_engines=True) == (None, True)
    remember_engine(engine_sha256(engine_artifact))
    assert status() == (None, True)


def test_a_record_cannot_be_put_elsewhere_by_a_link(state: Path, tmp_path: Path) -> None:
    remember_engine(SHA)
    (state / SHA).unlink()
    (state / SHA).symlink_to(tmp_path / "target")
    with pytest.raises(FileError, match="cannot be written"):
        remember_engine(SHA)
    assert not os.path.lexists(tmp_path / "target")
