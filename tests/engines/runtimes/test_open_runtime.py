"""Which runtime opens an artifact: the default, the named one, or an error if there is none."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from motivnet.artifact import open_artifact
from motivnet.errors import (
    ArtifactError,
    ConfigError,
    MissingDependencyError,
    RuntimeUnavailableError,
)
from motivnet_engines.runtimes import openvino_ as openvino_adapter
from motivnet_engines.runtimes import registry
from motivnet_engines.runtimes.registry import RUNTIMES, open_backend
from motivnet_engines.runtimes.selection import (
    default_runtime,
    installed_runtimes,
    open_runtime,
    parity_status,
    warn_of_untrained,
)

ON_THE_CPU = ("openvino-bf16", "openvino", "onnxruntime")


@pytest.fixture
def with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_adapter, "has_bf16", lambda: True)


@pytest.fixture
def without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_adapter, "has_bf16", lambda: False)


def test_the_names_are_in_order_of_preference() -> None:
    assert list(RUNTIMES) == ["tensorrt", "tensorrt-rtx", "onnxruntime-cuda", *ON_THE_CPU]


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("fp32", ON_THE_CPU), ("fp16", ON_THE_CPU), ("bf16", ("openvino-bf16", "openvino"))],
)
@pytest.mark.usefixtures("with_bf16")
def test_installed_are_those_that_can_open_the_artifact(
    precision: str, expected: tuple[str, ...], copied_artifact
) -> None:
    found = installed_runtimes(copied_artifact(precision))
    assert tuple(name for name in found if name != "onnxruntime-cuda") == expected


@pytest.mark.usefixtures("without_bf16")
def test_without_bf16_instructions_there_is_no_bf16_runtime(copied_artifact) -> None:
    assert "openvino-bf16" not in installed_runtimes(copied_artifact("fp16"))


@pytest.mark.parametrize(
    ("precision", "verified", "expected"),
    [
        ("fp16", ON_THE_CPU, "openvino-bf16"),
        ("bf16", ON_THE_CPU, "openvino-bf16"),
        ("fp32", ON_THE_CPU, "openvino"),
        ("fp16", ("openvino", "onnxruntime"), "openvino"),
        ("fp16", ("onnxruntime",), "onnxruntime"),
    ],
)
@pytest.mark.usefixtures("with_bf16")
def test_the_default_is_the_first_that_passed_the_gate_and_keeps_the_precision(
    precision: str, verified: tuple[str, ...], expected: str, copied_artifact
) -> None:
    assert default_runtime(copied_artifact(precision, verified=verified)) == expected


@pytest.mark.usefixtures("without_bf16")
def test_the_default_moves_on_where_the_build_machine_had_more(copied_artifact) -> None:
    assert default_runtime(copied_artifact("fp16", verified=ON_THE_CPU)) == "openvino"


@pytest.mark.parametrize("evidence", ["graph", "runtime"])
def test_either_evidence_of_the_runtime_itself_verifies_it(evidence: str, copied_artifact) -> None:
    assert (
        default_runtime(copied_artifact(verified=("onnxruntime",), evidence=evidence))
        == "onnxruntime"
    )


def test_the_artifact_of_a_real_build_has_a_default(
    fp32_artifact: Path, fp16_artifact: Path
) -> None:
    assert default_runtime(open_artifact(fp32_artifact)) == "openvino"
    assert default_runtime(open_artifact(fp16_artifact)) in ("openvino-bf16", "openvino")


def test_one_failed_comparison_outweighs_a_passed_one(copied_artifact) -> None:
    artifact = copied_artifact(verified=("openvino", "onnxruntime"), failed=("openvino",))
    assert default_runtime(artifact) == "onnxruntime"


@pytest.mark.parametrize(
    "states",
    [{}, {"failed": ON_THE_CPU}, {"verified": ON_THE_CPU, "evidence": "rounding"}],
    ids=str,
)
def test_without_a_verified_runtime_the_error_says_what_to_do(
    states: dict[str, Any], copied_artifact
) -> None:
    artifact = copied_artifact(**states)
    with pytest.raises(
        RuntimeUnavailableError, match="--runtime NAME, or build the artifact again here"
    ) as raised:
        open_runtime(artifact.folder)
    assert "openvino, onnxruntime" in str(raised.value)


def test_open_runtime_opens_the_default(copied_artifact) -> None:
    with open_runtime(copied_artifact(verified=("onnxruntime",)).folder, threads=1) as runtime:
        assert runtime.name == "onnxruntime"


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({"verified": ("onnxruntime",)}, None),
        ({}, "onnxruntime was not compared with PyTorch when this artifact was built"),
        (
            {"failed": ("onnxruntime",)},
            "onnxruntime failed the parity check when this artifact was built: "
            "logits differ by 0.5",
        ),
    ],
)
def test_a_named_runtime_opens_and_is_warned_of_unless_verified(
    states: dict[str, tuple[str, ...]],
    message: str | None,
    copied_artifact,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        caplog.at_level(logging.WARNING),
        open_runtime(copied_artifact(**states).folder, runtime="onnxruntime", threads=1) as runtime,
    ):
        assert runtime.name == "onnxruntime"
    assert caplog.messages == ([message] if message else [])


@pytest.mark.parametrize(
    "opener", [open_runtime, lambda artifact, runtime: open_backend(runtime, artifact)]
)
def test_an_unknown_name_is_answered_with_the_known_ones(opener, copied_artifact) -> None:
    with pytest.raises(
        ConfigError, match="no runtime is called 'tensorflow'; the runtimes are tensorrt, "
    ):
        opener(copied_artifact(), runtime="tensorflow")


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("openvino", "openvino", "cpu"),
        ("onnxruntime", "onnxruntime", "cpu"),
        ("onnxruntime-cuda", "onnxruntime", "gpu"),
    ],
)
def test_a_missing_package_names_its_extra(
    name: str, package: str, extra: str, copied_artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(registry, "read_driver", lambda: SimpleNamespace(missing_requirement=None))
    artifact = copied_artifact()
    with pytest.raises(
        MissingDependencyError, match=rf"{package} is not installed.*motivnet\[{extra}\]"
    ):
        open_backend(name, artifact)
    assert name not in installed_runtimes(artifact)


def test_with_no_package_at_all_the_error_says_what_to_install(
    copied_artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'motivnet\[cpu\]'"):
        default_runtime(copied_artifact(verified=ON_THE_CPU))


def test_every_name_has_a_parity_status(copied_artifact) -> None:
    manifest = copied_artifact(verified=("openvino",), failed=("onnxruntime",)).manifest
    assert {name: parity_status(manifest, name) for name in RUNTIMES} == {
        "tensorrt": "unverified",
        "tensorrt-rtx": "unverified",
        "onnxruntime-cuda": "unverified",
        "openvino-bf16": "unverified",
        "openvino": "verified",
        "onnxruntime": "failed",
    }


def test_a_folder_that_is_no_artifact_is_refused(tmp_path) -> None:
    with pytest.raises(ArtifactError, match=r"has no manifest\.json"):
        open_runtime(tmp_path)


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-rtx", "onnxruntime-cuda"])
def test_without_a_gpu_no_package_is_advised(
    name: str, copied_artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, missing = copied_artifact(), "there is no libcuda.so.1"
    driver = SimpleNamespace(missing_requirement=missing)
    monkeypatch.setattr(registry, "read_driver", lambda: driver)
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(RuntimeUnavailableError) as caught:
        open_runtime(artifact, runtime=name)
    assert str(caught.value) == f"{name} needs an NVIDIA GPU: {missing}"


def test_a_runtime_that_is_installed_and_broken_is_named_and_passed_over(
    copied_artifact,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    artifact = copied_artifact(verified=("openvino",))
    (tmp_path / "onnxruntime.py").write_text("raise OSError('libonnxruntime.so is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("motivnet_engines.runtimes.onnxruntime_", "onnxruntime"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    assert default_runtime(artifact) == "openvino"
    [warning] = [each for each in caplog.messages if "onnxruntime is installed" in each]
    assert "cannot be loaded: libonnxruntime.so is missing" in warning
    assert "repair it with: pip install --force-reinstall onnxruntime" in warning


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"checkpoint": None, "sha256": None, "random_weights": True}, "random weights"),
        ({"fresh_head": True}, "an untrained head"),
        ({}, None),
    ],
)
def test_an_artifact_that_never_learnt_is_warned_of_once(
    changes: dict[str, Any],
    text: str | None,
    copied_artifact,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "motivnet_engines")
    source = copied_artifact().manifest.source
    artifact = copied_artifact("fp16", source=msgspec.structs.replace(source, **changes))
    warn_of_untrained(artifact)
    warn_of_untrained(artifact)
    expected = f"{artifact.folder} has {text}: its results mean nothing"
    found = [each.getMessage() for each in caplog.records if each.name.startswith("motivnet")]
    assert found == ([expected] if text else [])
