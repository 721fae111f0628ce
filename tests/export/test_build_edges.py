"""Builds and verdicts at their edges: killed, interrupted, of other classes, of changed manifests."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from motivnet.artifact import list_reports, open_artifact
from motivnet.config import ModelConfig
from motivnet.errors import ArtifactError, ExportError, FileError
from motivnet.model import MotivNet, build_model
from motivnet.preprocess import InputRecipe
from motivnet_export import graph_files
from motivnet_export.build import build_artifact
from motivnet_export.inspect import inspect_artifact
from motivnet_export.request import BuildRequest
from motivnet_export.torch_to_onnx import onnx_from_model
from motivnet_export.verify import verify_artifact


@pytest.mark.parametrize("delay", [1.5, 3.0, 4.5])
def test_killed_build_leaves_the_old_artifact_or_the_new_one(
    delay: float, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "artifact"
    build_artifact(BuildRequest(checkpoint=tiny_checkpoint, out=out, parity_images=1))
    program = (
        "import sys; from motivnet_export.cli import main; sys.argv[0] = 'motivnet-export'; main()"
    )
    arguments = [
        "build",
        "--checkpoint",
        str(tiny_checkpoint),
        "--out",
        str(out),
        "--fp16",
        "--parity-images",
        "1",
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.DEVNULL
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(delay)
    process.kill()
    process.wait()
    artifact = open_artifact(out)
    artifact.verify_files()
    assert {path.name for path in out.iterdir()} == {
        "manifest.json",
        *(entry.path for entry in artifact.manifest.files),
    }
    assert inspect_artifact(artifact).manifest.precision in ("fp32", "fp16")


NEWER = "newer"


@pytest.mark.parametrize("manifest", ['{"name": "app"}', "[]", "", NEWER])
def test_a_folder_whose_manifest_is_not_ours_is_not_replaced(
    manifest: str, fp32_artifact: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    if manifest == NEWER:
        manifest = (
            (fp32_artifact / "manifest.json")
            .read_text()
            .replace('"format_version": 1', '"format_version": 2')
        )
        assert '"format_version": 2' in manifest
    (tmp_path / "web" / "src").mkdir(parents=True)
    (tmp_path / "web" / "manifest.json").write_text(manifest)
    (tmp_path / "web" / "src" / "app.js").write_text("work")
    with pytest.raises(
        FileError,
        match=r"web is not replaced, because its manifest\.json is no .*; choose another output folder",
    ):
        build_artifact(BuildRequest(checkpoint=tiny_checkpoint, out=tmp_path / "web"))
    assert (tmp_path / "web" / "src" / "app.js").read_text() == "work"
    assert (tmp_path / "web" / "manifest.json").read_text() == manifest


def test_a_rebuild_takes_the_reports_of_the_old_artifact_and_nothing_of_the_user(
    fp32_artifact: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(fp32_artifact, tmp_path / "artifact")
    list_reports(out, {"report.html": b"report"})
    (out / "report.html").write_text("report")
    (out / "photos").mkdir()
    request = BuildRequest(checkpoint=tiny_checkpoint, out=out, parity_images=1)
    with pytest.raises(
        FileError, match="artifact holds other files too: photos; move them away, or choose"
    ):
        build_artifact(request)
    assert (out / "report.html").exists()
    (out / "photos").rmdir()
    assert build_artifact(request).manifest.reports == ()
    assert not (out / "report.html").exists()


def test_a_listed_file_that_is_not_what_the_manifest_describes_is_the_users(
    fp32_artifact: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(fp32_artifact, tmp_path / "artifact")
    list_reports(out, {"src/app.py": b"as somebody wrote it"})
    (out / "src").mkdir()
    (out / "src" / "app.py").write_text("work")
    request = BuildRequest(checkpoint=tiny_checkpoint, out=out, parity_images=1)
    with pytest.raises(
        FileError, match="artifact holds other files too: src; move them away, or choose"
    ):
        build_artifact(request)
    (out / "src" / "app.py").write_text("as somebody wrote it")
    (out / "model.onnx").write_bytes(b"damaged, and so built again")
    assert build_artifact(request).manifest.reports == ()
    assert not (out / "src").exists()


def test_model_of_other_classes_is_judged_on_the_same_faces(tmp_path: Path) -> None:
    config = ModelConfig.named("tiny", num_classes=5)
    (tmp_path / "five.json").write_text(json.dumps(config.to_dict()))
    request = BuildRequest(model=str(tmp_path / "five.json"), out=tmp_path / "out", parity_images=2)
    assert build_artifact(request).manifest.labels == (
        "class_0",
        "class_1",
        "class_2",
        "class_3",
        "class_4",
    )


def test_verify_refuses_labels_that_are_not_the_checkpoints(
    fp16_artifact: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    changed = shutil.copytree(fp16_artifact, tmp_path / "changed")
    text = (changed / "manifest.json").read_text()
    swapped = (
        text.replace('"happiness"', '"x"')
        .replace('"disgust"', '"happiness"')
        .replace('"x"', '"disgust"')
    )
    assert swapped != text
    (changed / "manifest.json").write_text(swapped)
    with pytest.raises(ArtifactError, match="labels in the manifest"):
        verify_artifact(open_artifact(changed), checkpoint=tiny_checkpoint, parity_images=1)


def test_interrupt_inside_the_exporter_stays_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise torch.onnx.errors.OnnxExporterError("step 1/3") from error

    monkeypatch.setattr(torch.onnx, "export", interrupted)
    model = build_model(ModelConfig.named("tiny"))
    with pytest.raises(KeyboardInterrupt):
        onnx_from_model(
            model,
            attention="fused",
            input_dtype="float32",
            recipe=InputRecipe.named("stretch", size=(128, 96)),
        )


def test_precision_that_cannot_be_exported_is_a_rung_too(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_of = graph_files.onnx_from_model

    def refusing_half(model: MotivNet, **options: Any) -> object:
        if model.encoder.patch_embed.projection.weight.dtype != torch.float32:
            raise ExportError("no half here")
        return export_of(model, **options)

    monkeypatch.setattr(graph_files, "onnx_from_model", refusing_half)
    request = BuildRequest(
        checkpoint=tiny_checkpoint, out=tmp_path / "out", precision="fp16", parity_images=1
    )
    manifest = build_artifact(request).manifest
    assert manifest.precision == "fp32"
    assert [attempt.reason for attempt in manifest.attempts] == ["no half here", "no half here"]
