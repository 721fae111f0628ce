"""``--target``: what the graph is compiled to, what came of it, and the ladder that an engine adds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from motivnet.artifact import open_artifact
from motivnet.artifact.manifest import Manifest
from motivnet.errors import ConfigError, EngineError, RuntimeUnavailableError
from motivnet_engines.build import backend, engine_artifact
from motivnet_engines.build.options import EngineOptions
from motivnet_export import build
from motivnet_export.build import build_artifact
from motivnet_export.cli import app
from motivnet_export.request import BuildRequest
from motivnet_export.target import engine_for_target

pytest.importorskip("tensorrt_rtx")
RTX = EngineOptions(backend="tensorrt-rtx", compute_capabilities=("86",))


def built(checkpoint: Path, out: Path, *arguments: str) -> str:
    command = [
        "build",
        "--checkpoint",
        str(checkpoint),
        "--out",
        str(out),
        "--fp16",
        "--parity-images",
        "1",
    ]
    outcome = CliRunner().invoke(app, [*command, *arguments], catch_exceptions=False)
    assert outcome.exit_code == 0
    return outcome.stdout


def test_auto_compiles_ahead_of_time_where_only_tensorrt_rtx_is(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    text = built(tiny_checkpoint, tmp_path / "out")
    [engine] = open_artifact(tmp_path / "out").manifest.engines
    assert engine.backend == "tensorrt-rtx"
    assert engine.attention == "fused"
    assert "engine tensorrt-rtx" in text
    assert "compiled and never run; on the device: motivnet verify" in text


def test_auto_without_any_compiler_leaves_the_graph_and_says_how_to_get_one(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_loads", lambda name: False)
    text = built(tiny_checkpoint, tmp_path / "out")
    assert not open_artifact(tmp_path / "out").manifest.engines
    assert "pip install 'motivnet[rtx]'" in text
    assert "motivnet build-engine" in text


def test_onnx_is_all_that_was_asked_for(tiny_checkpoint: Path, tmp_path: Path) -> None:
    text = built(tiny_checkpoint, tmp_path / "out", "--target", "onnx")
    assert not open_artifact(tmp_path / "out").manifest.engines
    assert "none was asked for" in text


def test_tensorrt_without_a_gpu_names_the_two_ways_out_before_anything_is_done(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        RuntimeUnavailableError, match=r"motivnet build-engine.*--target tensorrt-rtx"
    ):
        built(tiny_checkpoint, tmp_path / "out", "--target", "tensorrt")
    assert list(tmp_path.iterdir()) == []


def test_what_no_gpu_can_be_is_said_before_the_model_is_exported(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exported(*args: object, **kwargs: object) -> None:
        raise AssertionError("the model was loaded first")

    monkeypatch.setattr(build, "model_source", exported)
    for precision, names in (
        ("fp8", ("86",)),
        ("fp8", ()),
        ("bf16", ("75",)),
        ("fp16", ("87",)),
        ("fp32", ("75",)),
    ):
        options = EngineOptions(backend="tensorrt-rtx", compute_capabilities=names)
        request = BuildRequest(
            checkpoint=tiny_checkpoint, out=tmp_path / "out", precision=precision, engine=options
        )
        with pytest.raises(ConfigError, match=r"SM 75|SM 86|SM 87|--sm 89"):
            build.build_artifact(request)


def test_optional_engine_that_no_gpu_can_be_is_left_out_with_its_reason(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    arguments = [
        "--checkpoint",
        str(tiny_checkpoint),
        "--out",
        str(tmp_path / "out"),
        "--parity-images",
        "1",
    ]
    outcome = CliRunner().invoke(
        app, ["build", *arguments, "--precision", "bf16", "--sm", "75"], catch_exceptions=False
    )
    assert outcome.exit_code == 0
    assert "stays without an engine: SM 75 has no BF16" in outcome.stderr
    assert "the warning above says why" in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "onnx", "--sm", "86"], "--sm is for --target tensorrt-rtx"),
        (["--target", "tensorrt-rtx", "--sm", "90"], "does not compile for SM 90"),
        (["--target", "tensorrt-rtx", "--attention", "fused", "--precision", "fp32"], "contradict"),
        (["--int8"], "contradict"),
    ],
)
def test_contradiction_is_one_line_and_writes_nothing(
    arguments: list[str], message: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        built(tiny_checkpoint, tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_engine_that_fails_with_fused_attention_is_tried_with_decomposed(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, lambda manifest: manifest.attention == "fused")
    lines: list[str] = []
    request = BuildRequest(
        checkpoint=tiny_checkpoint,
        out=tmp_path / "out",
        precision="fp16",
        parity_images=1,
        engine=RTX,
    )
    manifest = build_artifact(request, announce=lines.append).manifest
    assert (manifest.precision, manifest.attention) == ("fp16", "decomposed")
    assert [(a.precision, a.attention) for a in manifest.attempts] == [("fp16", "fused")]
    assert manifest.engines[0].attention == "decomposed"
    assert lines == ["fp16 with fused attention is given up: wrong on this GPU"]


def test_engine_that_fails_in_every_half_precision_ends_in_fp32(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, lambda manifest: manifest.precision != "fp32")
    request = BuildRequest(
        checkpoint=tiny_checkpoint,
        out=tmp_path / "out",
        precision="fp16",
        parity_images=1,
        engine=RTX,
    )
    manifest = build_artifact(request, announce=str).manifest
    assert manifest.engines[0].precision == manifest.precision == "fp32"
    assert [(a.precision, a.attention) for a in manifest.attempts] == [
        ("fp16", "fused"),
        ("fp16", "decomposed"),
        ("bf16", "fused"),
        ("bf16", "decomposed"),
    ]


def test_strict_ends_at_the_first_engine_that_fails(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, lambda manifest: True)
    request = BuildRequest(
        checkpoint=tiny_checkpoint,
        out=tmp_path / "out",
        precision="fp16",
        parity_images=1,
        engine=RTX,
        strict=True,
    )
    with pytest.raises(EngineError, match="wrong on this GPU"):
        build_artifact(request)
    assert list(tmp_path.iterdir()) == []


def test_optional_engine_that_fails_leaves_the_graph_and_says_so(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, lambda manifest: True)
    lines: list[str] = []
    request = BuildRequest(
        checkpoint=tiny_checkpoint,
        out=tmp_path / "out",
        precision="fp16",
        parity_images=1,
        engine=RTX,
        engine_optional=True,
    )
    manifest = build_artifact(request, announce=lines.append).manifest
    assert (manifest.precision, manifest.attention, manifest.engines) == ("fp16", "fused", ())
    assert len(lines) == 6
    assert lines[0] == "fp16 with fused attention is given up: wrong on this GPU"
    assert lines[-1] == "the artifact stays without an engine: wrong on this GPU"


def test_optional_engine_that_this_machine_cannot_build_costs_no_other_rung(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object, **kwargs: object) -> None:
        raise RuntimeUnavailableError("too little memory")

    monkeypatch.setattr(engine_artifact, "check_fits", refused)
    lines: list[str] = []
    request = BuildRequest(
        checkpoint=tiny_checkpoint,
        out=tmp_path / "out",
        precision="fp16",
        parity_images=1,
        engine=RTX,
        engine_optional=True,
    )
    manifest = build_artifact(request, announce=lines.append).manifest
    assert (manifest.precision, manifest.attention, manifest.engines) == ("fp16", "fused", ())
    assert lines == ["the artifact stays without an engine: too little memory"]


def test_old_tensorrt_without_the_operator_is_given_the_decomposed_form(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "motivnet_engines.build.known_issues.installed_version", lambda backend: "1.2.0"
    )
    request = BuildRequest(
        checkpoint=tiny_checkpoint,
        out=tmp_path / "out",
        precision="fp16",
        parity_images=1,
        engine=RTX,
    )
    manifest = build_artifact(request, announce=str).manifest
    assert (manifest.precision, manifest.engines[0].attention) == ("fp16", "decomposed")
    assert "cannot build the Attention operator" in manifest.attempts[0].reason


def test_target_names_give_options(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine_for_target("onnx", sm=None) is None
    assert engine_for_target("tensorrt", sm=None) == EngineOptions(backend="tensorrt")
    assert engine_for_target("tensorrt-rtx", sm="8.6") == RTX
    monkeypatch.setattr(backend, "_loads", lambda name: True)
    monkeypatch.setattr(backend, "capabilities_here", lambda: ("90",))
    assert engine_for_target("auto", sm=None) == EngineOptions(backend="tensorrt")
    monkeypatch.setattr(backend, "_loads", lambda name: name == "tensorrt-rtx")
    assert engine_for_target("auto", sm=None) is None, "TensorRT-RTX has no code for Hopper"
    monkeypatch.setattr(backend, "capabilities_here", lambda: ("86",))
    assert engine_for_target("auto", sm=None) == EngineOptions(backend="tensorrt-rtx")


def refuse(monkeypatch: pytest.MonkeyPatch, is_refused: Any) -> None:
    """Plants the verdict of a GPU that is not here: after the real build, some engines are too far from PyTorch."""
    true_check = engine_artifact._judged

    def judged(artifact: Any, *args: Any, **options: Any) -> Manifest:
        if is_refused(artifact.manifest):
            raise EngineError("wrong on this GPU")
        return true_check(artifact, *args, **options)

    monkeypatch.setattr(engine_artifact, "_judged", judged)
