from __future__ import annotations

import dataclasses
import json
import shutil

import cv2
import pytest

from motivnet.errors import ArtifactError, ConfigError, ImageError
from motivnet.synthetic import draw_face
from motivnet_bench.latency.candidates import default_name
from motivnet_bench.latency.measure import Options, measure_latency
from motivnet_bench.latency.result import LatencyResult
from motivnet_bench.latency.target import subject_from_artifact, subject_from_model
from motivnet_bench.repeat import repeat_command

MEASURED = ("pytorch-fp32", "pytorch-bf16", "onnxruntime", "openvino")


def test_the_baselines_come_first_and_every_runtime_has_a_row(latency_result):
    assert [row.name for row in latency_result.candidates] == [*MEASURED, "onnxruntime-cuda"]
    assert [row.role for row in latency_result.candidates[:3]] == [
        "baseline-fp32",
        "baseline-half",
        "runtime",
    ]


@pytest.mark.parametrize("name", MEASURED)
def test_a_candidate_has_all_its_figures(latency_result, name):
    row = latency_result.candidate(name)
    figures = row.figures
    assert row.error is None
    assert len(figures.latency.round_medians) == 2
    assert figures.latency.calls >= 2
    assert (
        0 < figures.latency.p50 <= figures.latency.p90 <= figures.latency.p95 <= figures.latency.p99
    )
    assert min(figures.load, figures.first_call, figures.images_per_second) > 0
    assert figures.peak_memory > 30_000_000
    assert (
        figures.ratio_to_fp32.smallest
        <= figures.ratio_to_fp32.median
        <= figures.ratio_to_fp32.largest
    )


def test_a_runtime_that_cannot_be_had_is_a_row_with_one_line(latency_result):
    row = latency_result.candidate("onnxruntime-cuda")
    assert row.figures is None
    assert row.error
    assert "\n" not in row.error


def test_the_baseline_is_once_as_fast_as_itself(latency_result):
    ratio = latency_result.candidate("pytorch-fp32").figures.ratio_to_fp32
    assert (ratio.smallest, ratio.median, ratio.largest) == (1, 1, 1)


@pytest.mark.parametrize("name", MEASURED[1:])
def test_every_candidate_computes_the_same_model_on_the_same_input(latency_result, name):
    figures = latency_result.candidate(name).figures
    assert figures.top1_agrees
    assert figures.probability_max_abs < 0.02


def test_baselines_compute_in_their_dtype(latency_result):
    assert latency_result.candidate("pytorch-fp32").compute == "float32"
    assert latency_result.candidate("pytorch-bf16").compute == "bfloat16"


def test_the_default_is_the_runtime_that_opens_the_artifact(latency_result, subject):
    expected = latency_result.candidate(default_name(subject.artifact) or "")
    assert latency_result.default == expected


def test_a_result_comes_back_from_its_json(latency_result):
    assert LatencyResult.from_json(latency_result.to_json()) == latency_result


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format_version": 2}, "format_version"),
        ({"surprise": 1}, "surprise"),
        ({"candidates": [{}]}, r"candidates\[0\]"),
    ],
)
def test_a_changed_json_is_refused_with_the_place(latency_result, change, said):
    text = json.dumps({**json.loads(latency_result.to_json()), **change}).encode()
    with pytest.raises(ConfigError, match=said):
        LatencyResult.from_json(text)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch": 9}, "largest batch 8"),
        ({"runtimes": ("abacus",)}, "no runtime is called 'abacus'; choose from"),
        ({"device": "tpu"}, "no device is called 'tpu'"),
    ],
)
def test_options_that_do_not_fit_the_artifact_are_refused(subject, quick_options, changes, said):
    with pytest.raises(ConfigError, match=said):
        measure_latency(subject, dataclasses.replace(quick_options, **changes))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch", 0),
        ("rounds", 0),
        ("threads", 0),
        ("warmup", -1),
        ("duration", 0.0),
        ("duration", float("nan")),
        ("timeout", 0.0),
        ("timeout", float("nan")),
    ],
)
def test_options_without_sense_are_refused(name, value):
    with pytest.raises(ConfigError):
        Options(**{name: value})


def test_an_image_that_is_none_is_refused_before_anything_runs(subject, quick_options, tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("not an image")
    with pytest.raises(ImageError, match=r"notes\.jpg"):
        measure_latency(subject, dataclasses.replace(quick_options, image=path))


def test_a_checkpoint_that_is_not_found_is_named(fp16_artifact, tmp_path):
    with pytest.raises(
        ArtifactError, match=r"tiny\.safetensors is neither in checkpoints/ nor here"
    ):
        subject_from_artifact(fp16_artifact)
    with pytest.raises(ArtifactError, match=r"gone\.safetensors is not there"):
        subject_from_artifact(fp16_artifact, checkpoint=tmp_path / "gone.safetensors")


def test_the_checkpoint_can_be_given(fp16_artifact, tiny_checkpoint):
    assert (
        subject_from_artifact(fp16_artifact, checkpoint=tiny_checkpoint).checkpoint
        == tiny_checkpoint
    )


def test_another_checkpoint_than_the_artifacts_is_refused(fp16_artifact, tmp_path):
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"other weights")
    with pytest.raises(ArtifactError, match="is not the checkpoint that"):
        subject_from_artifact(fp16_artifact, checkpoint=other)


@pytest.fixture(scope="module")
def random_result(quick_options, tmp_path_factory):
    """A run of a named size, without any file but an image."""
    folder = tmp_path_factory.mktemp("random")
    image = folder / "face.png"
    cv2.imwrite(str(image), draw_face("anger", seed=3, size=(90, 60))[:, :, ::-1])
    subject = subject_from_model("tiny", folder, precision="fp32", batch=2)
    options = dataclasses.replace(
        quick_options, image=image, rounds=1, batch=2, runtimes=("onnxruntime",)
    )
    return measure_latency(subject, options)


def test_a_named_size_is_measured_with_the_same_random_weights_on_both_sides(random_result):
    assert (random_result.subject.name, random_result.subject.weights) == ("tiny", "random")
    assert random_result.candidate("onnxruntime").figures.probability_max_abs < 1e-5


def test_an_image_file_takes_the_place_of_the_drawn_face(random_result):
    assert (random_result.settings.image, random_result.settings.batch) == ("face.png", 2)


def test_random_weights_have_no_checkpoint_to_be_given(subject, tmp_path):
    manifest = subject.artifact.manifest
    source = dataclasses.replace(manifest.source, random_weights=True, checkpoint=None, sha256=None)
    (tmp_path / "manifest.json").write_bytes(dataclasses.replace(manifest, source=source).to_json())
    for name in ("model.onnx", "reference.npz"):
        shutil.copy(subject.artifact.folder / name, tmp_path)
    assert subject_from_artifact(tmp_path).checkpoint is None
    with pytest.raises(ConfigError, match="leave --checkpoint out"):
        subject_from_artifact(tmp_path, checkpoint=tmp_path / "any.safetensors")


def test_an_artifact_that_tells_of_a_giant_random_model_is_refused_before_pytorch_makes_room(
    subject, tmp_path
):
    shutil.copytree(subject.artifact.folder, tmp_path / "giant")
    manifest = json.loads((tmp_path / "giant" / "manifest.json").read_bytes())
    manifest["source"] |= {"random_weights": True, "checkpoint": None, "sha256": None}
    manifest["source"]["config"]["decoder"]["mlp_dim"] = 65_536
    (tmp_path / "giant" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        ArtifactError,
        match=r"tells of a model of 17,\d+,\d+ weights, which its .* bytes cannot hold",
    ):
        subject_from_artifact(tmp_path / "giant")
    assert subject_from_artifact(tmp_path / "giant", needs_pytorch=False).checkpoint is None


def test_the_command_repeats_what_is_not_the_default_and_hides_where_files_lie(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    options = Options(
        rounds=3, runtimes=("openvino", "onnxruntime"), image=tmp_path.parent / "my face.jpg"
    )
    assert repeat_command("latency", (tmp_path / "artifacts" / "demo",), options) == (
        "motivnet-bench latency artifacts/demo --rounds 3 --runtime openvino --runtime onnxruntime "
        "--image 'my face.jpg'"
    )


def test_a_damaged_artifact_is_refused_before_anything_is_measured(fp16_artifact, tmp_path):
    damaged = shutil.copytree(fp16_artifact, tmp_path / "damaged")
    (damaged / "model.onnx").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ArtifactError, match="build the artifact again"):
        subject_from_artifact(damaged, needs_pytorch=False)
