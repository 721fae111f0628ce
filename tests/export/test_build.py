"""A build from checkpoint to artifact: the verdict, the ladder, and what is left behind when it fails."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from motivnet.artifact import open_artifact
from motivnet.artifact.manifest import BlockActivation
from motivnet.checkpoints import save_model
from motivnet.checkpoints.key_maps import published_from_model
from motivnet.config import ModelConfig
from motivnet.errors import ArtifactError, ConfigError, FileError, MotivNetError, ParityError
from motivnet.labels import labels_for
from motivnet.model import build_model
from motivnet.preprocess import InputRecipe
from motivnet_engines.verification import parity_run as judgement
from motivnet_export import fallback as rung
from motivnet_export import graph_files
from motivnet_export import parity_check as gate
from motivnet_export.build import build_artifact
from motivnet_export.inspect import inspect_artifact
from motivnet_export.parity_images import calibration_images, gate_images
from motivnet_export.request import BuildRequest
from motivnet_export.source import check_random_weights, checkpoint_of_artifact
from motivnet_export.tables import print_built
from motivnet_export.verify import verify_artifact

OVERFLOWING = 70_000.0


@pytest.fixture(scope="module")
def overflowing_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is sound in FP32 and BF16 and has numbers that FP16 does not hold."""
    config = ModelConfig.named("tiny")
    model = build_model(config, seed=1)
    with torch.no_grad():
        model.encoder.blocks[1].mlp.fc2.bias[3] = OVERFLOWING
    path = tmp_path_factory.mktemp("overflow") / "overflow.safetensors"
    recipe = InputRecipe.named("stretch", size=config.encoder.image_size)
    save_model(model, path, config=config, labels=labels_for(7), recipe=recipe)
    return path


def rows(artifact: Path) -> dict[str, str]:
    return {
        row.backend: row.evidence for row in open_artifact(artifact).manifest.parity.comparisons
    }


def test_artifact_says_what_it_is(fp16_artifact: Path, tiny_checkpoint: Path) -> None:
    manifest = open_artifact(fp16_artifact).manifest
    assert (manifest.precision, manifest.requested_precision, manifest.attention) == (
        "fp16",
        "fp16",
        "fused",
    )
    assert manifest.graph.attention_nodes == 6
    assert manifest.labels == labels_for(7)
    assert manifest.source.checkpoint == tiny_checkpoint.name
    assert not manifest.source.random_weights
    assert {"torch", "onnx"} <= set(manifest.tools)


def test_no_file_of_an_artifact_names_a_folder_of_the_machine_of_its_build(
    fp16_artifact: Path, tiny_checkpoint: Path
) -> None:
    told = {
        tiny_checkpoint.parent.name,
        fp16_artifact.parent.name,
        Path.cwd().name,
        platform.node(),
        Path.home().name,
    }
    for file in fp16_artifact.iterdir():
        content = file.read_bytes()
        assert [name for name in told if len(name) > 4 and name.encode() in content] == [], (
            file.name
        )


@pytest.mark.parametrize("place", ["checkpoints", "."])
def test_the_checkpoint_of_an_artifact_is_found_by_its_name_and_hash(
    fp16_artifact: Path,
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    artifact = open_artifact(fp16_artifact)
    with pytest.raises(
        ArtifactError, match=r"tiny\.safetensors is neither in checkpoints/ nor here; give"
    ):
        checkpoint_of_artifact(artifact, None)
    Path("checkpoints").mkdir()
    Path("checkpoints/tiny.safetensors").write_bytes(b"another of that name")
    with pytest.raises(ArtifactError, match="SHA-256 differs"):
        checkpoint_of_artifact(artifact, None)
    shutil.copy(tiny_checkpoint, place)
    assert checkpoint_of_artifact(artifact, None) == Path(place) / "tiny.safetensors"


def test_verdict_tells_graph_from_rounding_from_runtime(
    fp16_artifact: Path, fp32_artifact: Path
) -> None:
    fp16, fp32 = rows(fp16_artifact), rows(fp32_artifact)
    assert fp16["pytorch"] == "rounding"
    assert fp16["onnxruntime"] == fp32["onnxruntime"] == "graph"
    assert fp16["openvino"] == "graph"
    assert "pytorch" not in fp32, "FP32 has no rounding to estimate"
    assert open_artifact(fp16_artifact).manifest.parity.passed


def test_parity_report_has_every_block(fp16_artifact: Path) -> None:
    blocks = open_artifact(fp16_artifact).manifest.parity.activations
    assert len(blocks) == 1 + 4 + 1 + 2
    assert all(block.stream > 0 and block.compute > 0 for block in blocks)


def test_fp16_that_overflows_falls_to_bf16_and_says_so(
    overflowing_checkpoint: Path, tmp_path: Path
) -> None:
    heard: list[str] = []
    request = BuildRequest(
        checkpoint=overflowing_checkpoint, out=tmp_path / "out", precision="fp16", parity_images=2
    )
    manifest = build_artifact(request, announce=heard.append).manifest
    assert (manifest.requested_precision, manifest.precision) == ("fp16", "bf16")
    assert [attempt.precision for attempt in manifest.attempts] == ["fp16"]
    assert "encoder.blocks.1" in manifest.attempts[0].reason
    assert len(heard) == 1
    assert "fp16 is given up" in heard[0]


def test_strict_build_fails_instead_and_writes_nothing(
    overflowing_checkpoint: Path, tmp_path: Path
) -> None:
    request = BuildRequest(
        checkpoint=overflowing_checkpoint,
        out=tmp_path / "out",
        precision="fp16",
        parity_images=2,
        strict=True,
    )
    with pytest.raises(ParityError, match=r"encoder\.blocks\.1"):
        build_artifact(request)
    assert list(tmp_path.iterdir()) == []


def test_large_stream_that_fp32_holds_is_only_a_warning(tmp_path: Path) -> None:
    config = ModelConfig.named("tiny")
    model = build_model(config, seed=1)
    with torch.no_grad():
        model.encoder.pos_embed[..., 3] = OVERFLOWING
    recipe = InputRecipe.named("stretch", size=config.encoder.image_size)
    save_model(
        model, tmp_path / "m.safetensors", config=config, labels=labels_for(7), recipe=recipe
    )
    request = BuildRequest(
        checkpoint=tmp_path / "m.safetensors",
        out=tmp_path / "out",
        precision="fp16",
        parity_images=2,
    )
    manifest = build_artifact(request).manifest
    assert manifest.precision == "fp16"
    assert any("residual stream" in warning for warning in manifest.parity.warnings)


def test_graph_that_is_not_the_model_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another_model(*args: object, **kwargs: object) -> object:
        return export_of(build_model(ModelConfig.named("tiny"), seed=2), **kwargs)

    export_of = graph_files.onnx_from_model
    monkeypatch.setattr(graph_files, "onnx_from_model", of_another_model)
    request = BuildRequest(checkpoint=tiny_checkpoint, out=tmp_path / "out", parity_images=2)
    with pytest.raises(ParityError, match="graph"):
        build_artifact(request)
    assert not (tmp_path / "out").exists()


def test_failed_rebuild_leaves_the_old_artifact_whole(
    fp32_artifact: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in fp32_artifact.iterdir()}

    def broken(*args: object, **kwargs: object) -> None:
        raise MotivNetError("stopped on purpose")

    monkeypatch.setattr(rung, "runtimes_of", broken)
    with pytest.raises(MotivNetError, match="on purpose"):
        build_artifact(BuildRequest(checkpoint=tiny_checkpoint, out=fp32_artifact, parity_images=2))
    assert {path.name: path.read_bytes() for path in fp32_artifact.iterdir()} == before
    assert [path.name for path in fp32_artifact.parent.iterdir()] == [fp32_artifact.name]


def test_folder_of_other_files_is_not_replaced(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(FileError, match="not an artifact"):
        build_artifact(BuildRequest(checkpoint=tiny_checkpoint, out=tmp_path, parity_images=2))
    assert (tmp_path / "photo.jpg").read_bytes() == b"mine"


def test_named_size_without_a_checkpoint_is_of_random_weights_and_says_so(tmp_path: Path) -> None:
    manifest = build_artifact(
        BuildRequest(model="tiny", out=tmp_path / "out", parity_images=2)
    ).manifest
    assert manifest.source.random_weights
    assert manifest.source.checkpoint is None
    assert verify_artifact(open_artifact(tmp_path / "out"), parity_images=2).passed


def test_a_manifest_that_tells_of_a_giant_random_model_is_refused_before_it_is_built(
    tmp_path: Path,
) -> None:
    build_artifact(BuildRequest(model="tiny", out=tmp_path / "out", parity_images=2))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    manifest["source"]["config"]["decoder"]["mlp_dim"] = 65_536
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        ArtifactError, match=r"holds \d+,\d+ numbers; its configuration has 17,\d+,\d+ parameters"
    ):
        verify_artifact(open_artifact(tmp_path / "out"), parity_images=2)
    with pytest.raises(
        ArtifactError,
        match=r"tells of a model of 17,\d+,\d+ weights, which its .* bytes cannot hold",
    ):
        check_random_weights(open_artifact(tmp_path / "out"))


@pytest.mark.shared
def test_calibration_folder_is_used_and_named(
    tiny_checkpoint: Path, tmp_path: Path, shared_dir: Path
) -> None:
    request = BuildRequest(
        checkpoint=tiny_checkpoint,
        out=tmp_path / "out",
        precision="fp16",
        calibration=shared_dir / "data" / "london",
        parity_images=3,
    )
    report = build_artifact(request).manifest.parity
    assert report.images == 3
    assert report.image_source == "images of london/"


def test_verify_gives_the_same_verdict_again(fp16_artifact: Path, tiny_checkpoint: Path) -> None:
    report = verify_artifact(
        open_artifact(fp16_artifact), checkpoint=tiny_checkpoint, parity_images=2
    )
    assert report.passed
    assert {row.backend for row in report.comparisons} == set(rows(fp16_artifact))


def test_verify_refuses_another_checkpoint(
    fp16_artifact: Path, overflowing_checkpoint: Path
) -> None:
    with pytest.raises(ArtifactError, match="not the checkpoint"):
        verify_artifact(open_artifact(fp16_artifact), checkpoint=overflowing_checkpoint)


def test_verify_fails_where_a_runtime_computes_something_else(
    fp16_artifact: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_forward = judgement._forward

    def shifted(*args: object) -> object:
        forward = true_forward(*args)

        def run(pixels):
            logits, embedding = forward(pixels)
            return logits[:, ::-1].copy(), embedding

        return run

    monkeypatch.setattr(judgement, "_forward", shifted)
    report = verify_artifact(
        open_artifact(fp16_artifact), checkpoint=tiny_checkpoint, parity_images=2
    )
    assert not report.passed
    assert "onnxruntime (graph)" in gate.failure_line(report)


def test_inspection_counts_the_graph_again(fp16_artifact: Path) -> None:
    inspection = inspect_artifact(open_artifact(fp16_artifact))
    assert inspection.graph == inspection.manifest.graph


def test_changed_file_is_refused_before_it_is_parsed(fp16_artifact: Path, tmp_path: Path) -> None:
    for path in fp16_artifact.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    data = bytearray((tmp_path / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "model.onnx").write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match="SHA-256"):
        inspect_artifact(open_artifact(tmp_path))


@pytest.mark.parametrize("options", [{"max_batch": 0}, {"max_batch": 5000}, {"parity_images": 0}])
def test_request_out_of_range_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        BuildRequest(**options)


def test_gate_images_are_one_alone_and_the_rest_in_batches() -> None:
    config = ModelConfig.named("tiny")
    recipe = InputRecipe.named("stretch", size=(128, 96))
    images = gate_images(config, recipe, folder=None, count=6)
    sizes: list[int] = []

    def forward(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sizes.append(len(pixels))
        return np.zeros((len(pixels), 7), np.float32), np.zeros((len(pixels), 4), np.float32)

    judgement.outputs_of(forward, images.pixels, what="test")
    assert sizes == [1, 3, 2]
    assert images.source == "drawn faces, seed 0"
    assert images.drawn


def test_images_that_calibrate_are_not_those_that_judge(tmp_path: Path) -> None:
    recipe, config = InputRecipe.named("stretch", size=(128, 96)), ModelConfig.named("tiny")
    for grey in range(12):
        assert cv2.imwrite(str(tmp_path / f"{grey:02}.png"), np.full((128, 96, 3), grey, np.uint8))
    judging = gate_images(config, recipe, folder=tmp_path, count=4).pixels[:, 0, 0, 0].tolist()
    calibrating = (
        calibration_images(config, recipe, folder=tmp_path, count=64, judges=4)
        .pixels[:, 0, 0, 0]
        .tolist()
    )
    assert sorted(judging + calibrating) == list(range(12))
    drawn = calibration_images(config, recipe, folder=None, count=4, judges=4).pixels
    assert not np.array_equal(drawn, gate_images(config, recipe, folder=None, count=4).pixels)


def test_empty_calibration_folder_is_named(tmp_path: Path) -> None:
    recipe = InputRecipe.named("stretch", size=(128, 96))
    with pytest.raises(ConfigError, match="no image"):
        gate_images(ModelConfig.named("tiny"), recipe, folder=tmp_path, count=2)


def test_ladder_goes_down_to_fp32_where_bf16_cannot_be_judged(
    overflowing_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        gate,
        "installed_runtimes",
        lambda artifact, **_: () if artifact.manifest.precision == "bf16" else ("onnxruntime",),
    )
    request = BuildRequest(
        checkpoint=overflowing_checkpoint, out=tmp_path / "out", precision="fp16", parity_images=1
    )
    manifest = build_artifact(request).manifest
    assert manifest.precision == "fp32"
    assert [attempt.precision for attempt in manifest.attempts] == ["fp16", "bf16"]
    assert "no installed runtime runs bf16" in manifest.attempts[1].reason


def test_bf16_with_decomposed_attention_is_built(tiny_checkpoint: Path, tmp_path: Path) -> None:
    request = BuildRequest(
        checkpoint=tiny_checkpoint,
        out=tmp_path / "out",
        precision="bf16",
        attention="decomposed",
        parity_images=1,
        strict=True,
    )
    graph = build_artifact(request).manifest.graph
    assert (graph.attention_nodes, set(graph.compute_nodes)) == (0, {"bfloat16"})


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
    warnings = gate.activation_warnings(blocks, "fp16")
    assert len(warnings) == len(words)
    assert all(word in warning for word, warning in zip(words, warnings, strict=True))
    assert gate.activation_warnings(blocks, "bf16") == []


def test_fresh_head_is_said_once_and_in_the_headline(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ModelConfig.named("tiny")
    state = published_from_model(build_model(config, seed=1).state_dict())
    encoder = {name: weight for name, weight in state.items() if name.startswith("pose_encoder")}
    torch.save(encoder, tmp_path / "encoder.pth")
    request = BuildRequest(
        checkpoint=tmp_path / "encoder.pth",
        model="tiny",
        out=tmp_path / "out",
        precision="fp16",
        parity_images=1,
    )
    print_built(build_artifact(request), "none")
    assert sum("head is random" in record.message for record in caplog.records) == 1
    assert "with a random head" in capsys.readouterr().out
