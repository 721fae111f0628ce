from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from motivnet.artifact import Artifact, open_artifact
from motivnet.checkpoints.key_maps import published_from_model
from motivnet.checkpoints.shards import sha256_of_weights
from motivnet.config import ModelConfig
from motivnet.errors import ArtifactError, CheckpointError, ConfigError
from motivnet.model import build_model
from motivnet_engines.diagnostics.inspect import inspect_artifact
from motivnet_engines.diagnostics.tables import print_inspection as print_artifact
from motivnet_export.build import build_artifact
from motivnet_export.request import BuildRequest
from motivnet_export.source import (
    check_random_weights,
    checkpoint_of_artifact,
    model_source,
    newest_checkpoint,
)
from motivnet_export.tables import print_built, print_inspection
from motivnet_export.verify import verify_artifact


@pytest.mark.parametrize("place", ["checkpoints", "."])
def test_the_checkpoint_of_an_artifact_is_found_by_its_name_and_hash(
    small_artifact: Callable[..., Artifact],
    small_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    artifact = small_artifact()
    with pytest.raises(
        ArtifactError, match=r"small\.safetensors is neither in checkpoints/ nor here; give"
    ):
        checkpoint_of_artifact(artifact, None)
    with pytest.raises(ArtifactError, match=r"gone\.pth does not exist; give the checkpoint"):
        checkpoint_of_artifact(artifact, Path("gone.pth"))
    Path("checkpoints").mkdir()
    Path("checkpoints/small.safetensors").write_bytes(b"another of that name")
    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        checkpoint_of_artifact(artifact, None)
    shutil.copy(small_checkpoint, place)
    assert checkpoint_of_artifact(artifact, None) == Path(place) / "small.safetensors"


def test_a_manifest_of_a_giant_random_model_is_refused_before_it_is_built(
    small_artifact: Callable[..., Artifact], small_checkpoint: Path, tmp_path: Path
) -> None:
    artifact = shutil.copytree(small_artifact().folder, tmp_path / "artifact")
    manifest = json.loads((artifact / "manifest.json").read_bytes())
    manifest["source"] |= {"checkpoint": None, "sha256": None, "random_weights": True}
    manifest["source"]["config"]["decoder"]["mlp_dim"] = 65_536
    (artifact / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        ArtifactError,
        match=r"describes a model of 4,\d+,\d+ weights, which its .* bytes cannot hold",
    ):
        check_random_weights(open_artifact(artifact))
    with pytest.raises(
        ArtifactError, match=r"holds \d+,\d+ numbers; its configuration has 4,\d+,\d+ parameters"
    ):
        verify_artifact(open_artifact(artifact), num_images=1)
    with pytest.raises(ConfigError, match="built with random weights; leave --checkpoint out"):
        checkpoint_of_artifact(open_artifact(artifact), small_checkpoint)


def test_random_head_is_said_once_and_in_the_headline(
    small_config: ModelConfig,
    small_artifact: Callable[..., Artifact],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state = published_from_model(build_model(small_config, seed=1).state_dict())
    encoder = {name: weight for name, weight in state.items() if name.startswith("pose_encoder")}
    torch.save(encoder, tmp_path / "encoder.pth")
    (tmp_path / "small.json").write_text(json.dumps(small_config.to_dict()))
    source = model_source(
        tmp_path / "encoder.pth", model=str(tmp_path / "small.json"), preprocess=None
    )
    source.load()
    source.load()
    assert sum("head is random" in record.message for record in caplog.records) == 1
    assert source.entry().fresh_head
    artifact = shutil.copytree(small_artifact().folder, tmp_path / "artifact")
    text = (artifact / "manifest.json").read_text()
    (artifact / "manifest.json").write_text(
        text.replace('"fresh_head": false', '"fresh_head": true')
    )
    print_built(open_artifact(artifact), "none")
    assert "with a random head" in capsys.readouterr().out


def test_a_checkpoint_that_changes_during_an_export_is_refused(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    path = shutil.copy(small_checkpoint, tmp_path / "a.safetensors")
    source = model_source(path, model=None, preprocess=None)
    source.load()
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="changed while it was exported; start again"):
        source.load()


def _shards(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    """Write a state dict as two shards with their index, which is returned."""
    folder.mkdir()
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    places = {key: names[number % 2] for number, key in enumerate(state)}
    for name in names:
        save_file({key: state[key] for key in state if places[key] == name}, folder / name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return index


def test_sharded_weights_become_an_artifact_that_knows_every_shard(
    small_config: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = published_from_model(build_model(small_config, seed=1).state_dict())
    index = _shards(tmp_path / "hub", state)
    (tmp_path / "small.json").write_text(json.dumps(small_config.to_dict()))
    options = {"model": str(tmp_path / "small.json"), "num_images": 1}
    monkeypatch.chdir(tmp_path)
    artifact = build_artifact(BuildRequest(checkpoint=index.parent, **options))
    assert artifact.folder == Path("artifacts/hub")
    source = artifact.manifest.source
    assert (source.checkpoint, source.sha256) == (index.name, sha256_of_weights(index))
    assert checkpoint_of_artifact(artifact, index.parent) == index
    assert verify_artifact(artifact, checkpoint=index, num_images=1).passed
    shard = index.parent / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        checkpoint_of_artifact(artifact, index)


def test_the_newest_checkpoint_is_an_index_and_never_one_of_its_shards(
    small_config: ModelConfig, tmp_path: Path
) -> None:
    index = _shards(tmp_path / "checkpoints", {"a": torch.ones(1), "b": torch.ones(1)})
    assert newest_checkpoint(index.parent) == index


def test_an_artifact_of_averaged_weights_is_compared_with_these(
    small_config: ModelConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, averaged = (
        published_from_model(build_model(small_config, seed=seed).state_dict()) for seed in (1, 2)
    )
    path, config = tmp_path / "both.pth", tmp_path / "small.json"
    torch.save({"state_dict": plain, "state_dict_ema": averaged}, path)
    config.write_text(json.dumps(small_config.to_dict()))
    request = BuildRequest(
        checkpoint=path, ema=True, model=str(config), out=tmp_path / "out", num_images=1
    )
    artifact = build_artifact(request)
    assert artifact.manifest.source.ema
    assert verify_artifact(artifact, checkpoint=path, num_images=1).passed
    print_inspection(artifact)
    assert "both.pth, EMA weights, SHA-256" in " ".join(capsys.readouterr().out.split())
    manifest = json.loads((artifact.folder / "manifest.json").read_bytes())
    del manifest["source"]["ema"]
    (artifact.folder / "manifest.json").write_text(json.dumps(manifest))
    older = verify_artifact(open_artifact(artifact.folder), checkpoint=path, num_images=1)
    assert not older.passed


def test_averaged_weights_that_are_not_there_are_one_line(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"small\.safetensors holds no EMA weights"):
        model_source(small_checkpoint, model=None, preprocess=None, ema=True)
    with pytest.raises(ConfigError, match="random weights have no EMA; leave --ema out"):
        model_source(None, model="tiny", preprocess=None, ema=True)


def test_an_artifact_of_another_image_size_is_compared_and_verified_at_that_size(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = BuildRequest(
        checkpoint=tiny_checkpoint, image_size=(64, 48), out=tmp_path / "small", num_images=2
    )
    manifest = build_artifact(request).manifest
    assert manifest.source.config == ModelConfig.named("tiny", image_size=(64, 48))
    assert manifest.source.trained_image_size == (128, 96)
    assert manifest.input.preprocessing.size == (64, 48)
    assert manifest.parity.passed
    artifact = open_artifact(tmp_path / "small")
    assert verify_artifact(artifact, checkpoint=tiny_checkpoint, num_images=1).passed
    print_artifact(inspect_artifact(tmp_path / "small"))
    assert ", trained at 128x96; 4 layers of 96" in capsys.readouterr().out


def test_a_size_that_the_patches_do_not_fill_is_refused(tiny_checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match=r"image_size \[65, 48\] must be multiples of the patch"):
        model_source(tiny_checkpoint, model=None, preprocess=None, image_size=(65, 48))
    with pytest.raises(ConfigError, match=r"image_size \[65, 48\] must be multiples of the patch"):
        model_source(None, model="tiny", preprocess=None, image_size=(65, 48))
