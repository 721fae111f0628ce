from __future__ import annotations

from collections.abc import Callable

import pytest

from motivnet.artifact import Artifact
from motivnet.errors import ParityError
from motivnet.parity import BlockActivation
from motivnet_export import parity_check
from motivnet_export.parity_check import activation_warnings, compare_runtimes


def evidence(artifact: Artifact) -> dict[str, str]:
    return {row.backend: row.evidence for row in artifact.manifest.parity.comparisons}


def test_report_tells_graph_from_rounding_from_runtime(
    small_artifact: Callable[..., Artifact],
) -> None:
    fp16, fp32 = evidence(small_artifact("fp16")), evidence(small_artifact("fp32"))
    assert fp16["pytorch"] == "rounding"
    assert fp16["onnxruntime"] == fp32["onnxruntime"] == fp16["openvino"] == "graph"
    assert "pytorch" not in fp32, "FP32 has no rounding to estimate"
    assert small_artifact("fp16").manifest.parity.passed


def test_report_has_every_block(small_artifact: Callable[..., Artifact]) -> None:
    blocks = small_artifact("fp16").manifest.parity.activations
    assert len(blocks) == 1 + 1 + 1 + 1
    assert all(block.stream > 0 and block.compute > 0 for block in blocks)


def test_precision_that_no_runtime_runs_cannot_be_compared(
    small_artifact: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity_check, "installed_runtimes", lambda artifact, **_: ())
    with pytest.raises(ParityError, match="no installed runtime runs fp16 here"):
        compare_runtimes(small_artifact("fp16"), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stream", "compute", "words"),
    [
        (9e3, 9e3, []),
        (2e4, 9e3, ["near its end"]),
        (7e4, 9e3, ["would overflow"]),
        (9e3, 2e4, ["FP16 ends at 65504"]),
    ],
)
def test_activations_warn_above_ten_thousand(
    stream: float, compute: float, words: list[str]
) -> None:
    blocks = (
        BlockActivation(block="a", stream=1.0, compute=1.0),
        BlockActivation(block="b", stream=stream, compute=compute),
    )
    warnings = activation_warnings(blocks, "fp16")
    assert len(warnings) == len(words)
    assert all(word in warning for word, warning in zip(words, warnings, strict=True))
    assert activation_warnings(blocks, "bf16") == []
