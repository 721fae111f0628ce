"""Reported combinations: who is warned, who is not, and which version cannot build at all."""

from __future__ import annotations

import re

import pytest

from motivnet.artifact.engine_entry import EngineBackend
from motivnet.errors import EngineError
from motivnet.parity import AttentionForm, Precision
from motivnet_engines.build import known_issues
from motivnet_engines.build.known_issues import (
    KNOWN_ISSUES,
    check_supported,
    fused_supported,
    warnings_for,
)


def issues(
    backend: EngineBackend,
    version: str,
    capability: str | None,
    precision: Precision,
    attention: AttentionForm,
) -> list[str]:
    lines = warnings_for(
        backend=backend,
        version=version,
        compute_capability=capability,
        precision=precision,
        attention=attention,
    )
    return [number for line in lines for number in re.findall(r"/issues/(\d+)", line)]


@pytest.mark.parametrize(
    ("backend", "version", "capability", "precision", "attention", "numbers"),
    [
        ("tensorrt", "10.3.0", "8.7", "fp16", "decomposed", ["4723"]),
        ("tensorrt", "10.3.0.30", "8.7", "fp16", "decomposed", ["4723"]),
        ("tensorrt", "10.3.0", "8.7", "bf16", "decomposed", []),
        ("tensorrt", "10.30.0", "8.6", "fp16", "decomposed", []),
        ("tensorrt", "10.4.0", "8.6", "fp32", "decomposed", ["4742"]),
        ("tensorrt", "10.7.0.23", "8.9", "fp32", "decomposed", ["4333"]),
        ("tensorrt", "10.7.0.23", "8.9", "fp16", "fused", []),
        ("tensorrt", "10.8.0.43", "8.6", "bf16", "decomposed", ["4537"]),
        ("tensorrt", "10.8.0.43", "8.6", "fp32", "decomposed", []),
        ("tensorrt", "10.16.1.11", "12.0", "fp16", "fused", ["4837"]),
        ("tensorrt", "10.16.1.11", "12.0", "bf16", "decomposed", ["4837"]),
        ("tensorrt", "10.16.1.11", "12.0", "fp32", "decomposed", []),
        ("tensorrt", "10.16.1.11", "8.9", "fp16", "fused", []),
        ("tensorrt", "10.16.1.11", "12.1", "fp16", "fused", []),
        ("tensorrt", "10.16.1.11", None, "fp16", "fused", []),
        ("tensorrt", "11.4.0.106", "12.0", "fp16", "fused", ["4837"]),
        ("tensorrt-rtx", "1.7.1.116", "120", "bf16", "fused", ["4837"]),
        ("tensorrt-rtx", "1.7.1.116", "86", "fp16", "fused", []),
    ],
)
def test_exactly_the_reported_combinations_are_warned_of(
    backend: EngineBackend,
    version: str,
    capability: str | None,
    precision: Precision,
    attention: AttentionForm,
    numbers: list[str],
) -> None:
    assert issues(backend, version, capability, precision, attention) == numbers


def test_a_warning_names_version_fault_report_and_what_to_do() -> None:
    [line] = warnings_for(
        backend="tensorrt",
        version="10.4.0",
        compute_capability="8.6",
        precision="fp32",
        attention="decomposed",
    )

    assert line == (
        "tensorrt 10.4.0: results are wrong even in FP32, and NaN in FP16 "
        "(seen with DINOv3 ViT-B on RTX A6000, "
        "https://github.com/NVIDIA/TensorRT/issues/4742); use another version of TensorRT"
    )


def test_every_row_can_be_reached() -> None:
    for issue in KNOWN_ISSUES:
        assert re.fullmatch(r"https://github\.com/NVIDIA/TensorRT/issues/\d+", issue.url)
        assert issues(
            issue.backend or "tensorrt",
            ".".join(map(str, issue.series or (10, 16))),
            (issue.compute_capabilities or ("86",))[0],
            (issue.precisions or ("fp32",))[0],
            issue.attention or "decomposed",
        )


@pytest.mark.parametrize(
    ("backend", "version", "supported"),
    [
        ("tensorrt", "10.3.0", False),
        ("tensorrt", "10.13.3.9", False),
        ("tensorrt", "10.14.1.48", False),
        ("tensorrt", "10.15.1.29", True),
        ("tensorrt", "10.2", False),
        ("tensorrt", "11.0.0.114", True),
        ("tensorrt-rtx", "1.7.1.116", True),
        ("tensorrt-rtx", "1.2.0", False),
    ],
)
def test_the_attention_operator_has_a_first_version(
    backend: EngineBackend, version: str, supported: bool
) -> None:
    assert fused_supported(backend, version) is supported


def test_a_version_that_is_too_old_is_a_refusal_with_the_ways_out() -> None:
    check_supported("tensorrt", attention="decomposed", version="10.3.0")
    with pytest.raises(
        EngineError,
        match=r"10\.3\.0 cannot build .* needs 10\.15 or later; .* --attention decomposed",
    ):
        check_supported("tensorrt", attention="fused", version="10.3.0")


def test_without_a_version_that_of_the_installed_package_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(known_issues, "installed_version", lambda backend: "10.12.0.36")
    with pytest.raises(EngineError, match=r"tensorrt 10\.12\.0\.36"):
        check_supported("tensorrt", attention="fused")
    monkeypatch.setattr(known_issues, "installed_version", lambda backend: None)
    check_supported("tensorrt", attention="fused")
