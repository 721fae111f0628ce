from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from motivnet.artifact import Artifact
from motivnet.errors import ParityError
from motivnet.parity import BlockActivation, Comparison, Evidence, ParityReport, Precision
from motivnet_export import parity_check
from motivnet_export.parity_check import (
    Reference,
    activation_warnings,
    compare_runtimes,
    describe_failure,
    make_report,
)
from motivnet_export.parity_images import ImageSet


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


def row(backend: str, compute: str, evidence: Evidence, *failures: str) -> Comparison:
    return Comparison(
        backend=backend,
        compute=compute,
        evidence=evidence,
        images=2,
        logit_cosine=1.0,
        logit_max_abs=0.0,
        probability_max_abs=0.0,
        top1_agreement=1.0,
        embedding_cosine=1.0,
        seconds_per_image=0.1,
        failures=failures,
    )


def report_of(precision: Precision, *rows: Comparison) -> ParityReport:
    images = ImageSet(pixels=np.zeros((2, 4, 4, 3), np.uint8), source="drawn", drawn=True)
    activations = (BlockActivation(block="a", stream=1.0, compute=1.0),)
    reference = Reference(images=images, outputs=None, activations=activations)  # type: ignore[arg-type]
    return make_report(reference, rows, problems=(), precision=precision)


ROUNDING = row("pytorch", "bfloat16", "rounding")


def test_where_only_a_gpu_computes_bf16_it_shows_the_graph_and_a_warning_says_so() -> None:
    report = report_of("bf16", ROUNDING, row("onnxruntime-cuda", "bfloat16", "runtime"))

    assert report.passed
    assert report.warnings == (
        "the graph was compared in bfloat16 alone, by onnxruntime-cuda; "
        "to compare it in FP32 too: pip install 'motivnet[judge]'",
    )


@pytest.mark.parametrize(
    ("precision", "found"),
    [
        ("bf16", row("onnxruntime-cuda", "bfloat16", "runtime", "logit_cosine 0.9 < 0.995")),
        ("fp16", row("openvino-bf16", "bfloat16", "runtime")),
        ("fp32", row("openvino-bf16", "bfloat16", "runtime")),
    ],
)
def test_a_runtime_that_fails_or_computes_in_another_dtype_does_not_show_the_graph(
    precision: Precision, found: Comparison
) -> None:
    report = report_of(precision, found)

    assert not report.passed
    assert "pip install 'motivnet[judge]'" in describe_failure(report)


def test_a_graph_that_fails_in_fp32_is_not_saved_by_a_gpu_that_passes() -> None:
    wrong = row("openvino", "float32", "graph", "logit_cosine 0.9 < 0.995")

    assert not report_of("bf16", wrong, row("onnxruntime-cuda", "bfloat16", "runtime")).passed
