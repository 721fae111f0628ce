from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from motivnet.errors import ArtifactError, ConfigError
from motivnet.model import build_model
from motivnet_bench.target import (
    open_pytorch,
    pytorch_input,
    target_from_artifact,
    target_from_model,
)
from motivnet_engines.runtimes.registry import open_backend


def test_a_checkpoint_that_is_not_found_is_named(fp16_artifact, tmp_path):
    with pytest.raises(
        ArtifactError, match=r"tiny\.safetensors is neither in checkpoints/ nor here"
    ):
        target_from_artifact(fp16_artifact)
    with pytest.raises(ArtifactError, match=r"gone\.safetensors"):
        target_from_artifact(fp16_artifact, checkpoint=tmp_path / "gone.safetensors")


def test_another_checkpoint_than_the_artifacts_is_refused(fp16_artifact, tmp_path):
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"other weights")
    with pytest.raises(ArtifactError, match="is not the checkpoint that"):
        target_from_artifact(fp16_artifact, checkpoint=other)


def test_a_named_size_has_the_same_random_weights_on_both_sides(tmp_path):
    target = target_from_model("tiny", tmp_path, precision="fp32", batch_size=9)
    manifest = target.artifact.manifest
    assert (target.name, target.checkpoint, manifest.max_batch) == ("tiny", None, 9)
    images = np.random.default_rng(0).normal(size=(2, 3, 128, 96)).astype(np.float32)
    config = manifest.source.config
    with open_pytorch(None, config) as ours, open_backend("onnxruntime", target.artifact) as theirs:
        expected = ours.run({"image": images})["logits"]
        actual = theirs.run({theirs.inputs[0].name: images})["logits"]
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_the_averaged_weights_run_in_pytorch_if_the_artifact_has_these(tmp_path, tiny_config):
    plain, averaged = (build_model(tiny_config, seed=seed) for seed in (1, 2))
    path = tmp_path / "both.pth"
    torch.save({"state_dict": plain.state_dict(), "ema": averaged.state_dict()}, path)
    image = np.zeros((1, 3, *tiny_config.encoder.image_size), np.float32)
    for ema, model in ((False, plain), (True, averaged)):
        with open_pytorch(path, tiny_config, ema=ema) as runtime, torch.inference_mode():
            logits = runtime.run({"image": image})["logits"]
            np.testing.assert_allclose(
                logits, model.eval()(torch.from_numpy(image)).numpy(), atol=1e-5
            )


def test_random_weights_have_no_checkpoint_to_be_given(target, tmp_path, change):
    manifest = target.artifact.manifest
    source = change(manifest.source, random_weights=True, checkpoint=None, sha256=None)
    (tmp_path / "manifest.json").write_bytes(change(manifest, source=source).to_json())
    for name in ("model.onnx", "reference.npz"):
        shutil.copy(target.artifact.folder / name, tmp_path)
    assert target_from_artifact(tmp_path).checkpoint is None
    with pytest.raises(ConfigError, match="leave --checkpoint out"):
        target_from_artifact(tmp_path, checkpoint=tmp_path / "any.safetensors")


def test_an_artifact_that_claims_a_giant_random_model_is_refused_before_pytorch_makes_room(
    target, tmp_path
):
    shutil.copytree(target.artifact.folder, tmp_path / "giant")
    manifest = json.loads((tmp_path / "giant" / "manifest.json").read_bytes())
    manifest["source"] |= {"random_weights": True, "checkpoint": None, "sha256": None}
    manifest["source"]["config"]["decoder"]["mlp_dim"] = 65_536
    (tmp_path / "giant" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"17,\d+,\d+ weights, which its .* bytes cannot hold"):
        target_from_artifact(tmp_path / "giant")
    assert target_from_artifact(tmp_path / "giant", needs_pytorch=False).checkpoint is None


def test_a_damaged_artifact_is_refused_before_anything_is_measured(fp16_artifact, tmp_path):
    damaged = shutil.copytree(fp16_artifact, tmp_path / "damaged")
    (damaged / "model.onnx").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ArtifactError, match="build the artifact again"):
        target_from_artifact(damaged, needs_pytorch=False)


def test_pytorch_gets_preprocessed_images_also_if_the_artifact_takes_pixels(target, change):
    entry = target.artifact.manifest.input
    assert pytorch_input(change(entry, dtype="uint8", any_size=True)) == entry
