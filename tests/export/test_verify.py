from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from motivnet.artifact import Artifact, open_artifact
from motivnet.errors import ArtifactError
from motivnet.parity import Outputs
from motivnet_engines.verification import parity_run
from motivnet_export.parity_check import describe_failure
from motivnet_export.verify import check_graph, verify_artifact


def test_verify_gives_the_same_result_again(
    small_artifact: Callable[..., Artifact], small_checkpoint: Path
) -> None:
    artifact = small_artifact()
    report = verify_artifact(artifact, checkpoint=small_checkpoint, num_images=2)
    assert report.passed
    assert {row.backend for row in report.comparisons} == {
        row.backend for row in artifact.manifest.parity.comparisons
    }


def test_verify_refuses_another_checkpoint(
    small_artifact: Callable[..., Artifact], overflowing_checkpoint: Path
) -> None:
    with pytest.raises(ArtifactError, match="not the checkpoint"):
        verify_artifact(small_artifact(), checkpoint=overflowing_checkpoint)


def test_verify_refuses_labels_that_are_not_the_checkpoints(
    small_artifact: Callable[..., Artifact], small_checkpoint: Path, tmp_path: Path
) -> None:
    changed = shutil.copytree(small_artifact().folder, tmp_path / "changed")
    text = (changed / "manifest.json").read_text()
    swapped = text.replace('"happiness"', '"x"').replace('"disgust"', '"happiness"')
    swapped = swapped.replace('"x"', '"disgust"')
    assert swapped != text
    (changed / "manifest.json").write_text(swapped)
    with pytest.raises(ArtifactError, match="labels in the manifest"):
        verify_artifact(open_artifact(changed), checkpoint=small_checkpoint, num_images=1)


def test_verify_fails_where_a_runtime_computes_something_else(
    small_artifact: Callable[..., Artifact],
    small_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    true_outputs = parity_run.collect_outputs

    def reversed_logits(*args: Any, **options: Any) -> Outputs:
        outputs = true_outputs(*args, **options)
        return replace(outputs, logits=outputs.logits[:, ::-1])

    monkeypatch.setattr(parity_run, "collect_outputs", reversed_logits)
    report = verify_artifact(small_artifact(), checkpoint=small_checkpoint, num_images=2)
    assert not report.passed
    assert "onnxruntime (graph)" in describe_failure(report)


def test_inspection_counts_the_graph_again(small_artifact: Callable[..., Artifact]) -> None:
    artifact = small_artifact()
    check_graph(artifact)
    assert artifact.manifest.graph.attention_nodes == 2


def test_changed_file_is_refused_before_it_is_parsed(
    small_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    artifact = shutil.copytree(small_artifact().folder, tmp_path / "artifact")
    data = bytearray((artifact / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (artifact / "model.onnx").write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match="SHA-256"):
        check_graph(open_artifact(artifact))
