"""The order in which precisions are tried, what is announced and recorded, and real fallbacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from motivnet.artifact import open_artifact
from motivnet.config import ModelConfig
from motivnet.errors import EngineError, ExportError, ParityError, RuntimeUnavailableError
from motivnet.model import MotivNet, build_model
from motivnet_engines.build import engine_artifact
from motivnet_engines.build.options import EngineOptions
from motivnet_export import fallback
from motivnet_export.build import build_artifact
from motivnet_export.fallback import BuildJob, build_with_fallback
from motivnet_export.request import BuildRequest

OVERFLOWING = 70_000.0
RTX = EngineOptions(backend="tensorrt-rtx", compute_capabilities=("86",))


@pytest.fixture
def fall(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, list[str]]]:
    """Return a function that runs a build in which some precisions are refused."""

    def run(refuse: Callable[[Any], Exception | None], **options: Any) -> tuple[Any, list[str]]:
        def try_precision(job: BuildJob, precision: str, attention: str, *, attempts: Any) -> Any:
            engine = job.request.engine
            tried = SimpleNamespace(
                precision=precision, attention=attention, attempts=attempts, engine=engine
            )
            if (error := refuse(tried)) is not None:
                raise error
            return tried

        monkeypatch.setattr(fallback, "try_precision", try_precision)
        messages: list[str] = []
        job = BuildJob(
            request=BuildRequest(**options),
            source=None,  # type: ignore[arg-type]
            reference=None,  # type: ignore[arg-type]
            kept=None,  # type: ignore[arg-type]
            workspace=Path(),
            on_message=messages.append,
        )
        return build_with_fallback(job), messages

    return run


def refuse_engine(is_refused: Callable[[Any], bool]) -> Callable[[Any], Exception | None]:
    def refuse(tried: Any) -> Exception | None:
        wrong = tried.engine is not None and is_refused(tried)
        return EngineError("wrong on this GPU") if wrong else None

    return refuse


@pytest.mark.parametrize(
    ("precision", "order"),
    [
        ("int8", ["int8", "fp16", "bf16", "fp32"]),
        ("fp8", ["fp8", "fp16", "bf16", "fp32"]),
        ("fp16", ["fp16", "bf16", "fp32"]),
        ("bf16", ["bf16", "fp32"]),
    ],
)
@pytest.mark.parametrize("error", [ParityError("too far"), ExportError("no half here")])
def test_precisions_are_tried_in_order_down_to_fp32(
    precision: str, order: list[str], error: Exception, fall: Callable[..., Any]
) -> None:
    passed, messages = fall(
        lambda tried: None if tried.precision == "fp32" else error, precision=precision
    )
    assert passed.precision == "fp32"
    assert [attempt.precision for attempt in passed.attempts] == order[:-1]
    assert {attempt.reason for attempt in passed.attempts} == {str(error)}
    assert messages == [f"{name} is given up: {error}" for name in order[:-1]]


def test_engine_that_fails_with_fused_attention_is_tried_with_decomposed(
    fall: Callable[..., Any],
) -> None:
    passed, messages = fall(
        refuse_engine(lambda tried: tried.attention == "fused"), precision="fp16", engine=RTX
    )
    assert (passed.precision, passed.attention) == ("fp16", "decomposed")
    assert [(a.precision, a.attention) for a in passed.attempts] == [("fp16", "fused")]
    assert messages == ["fp16 with fused attention is given up: wrong on this GPU"]


def test_engine_that_fails_in_every_half_precision_ends_in_fp32(fall: Callable[..., Any]) -> None:
    passed, _ = fall(
        refuse_engine(lambda tried: tried.precision != "fp32"), precision="fp16", engine=RTX
    )
    assert (passed.precision, passed.engine) == ("fp32", RTX)
    assert [(a.precision, a.attention) for a in passed.attempts] == [
        ("fp16", "fused"),
        ("fp16", "decomposed"),
        ("bf16", "fused"),
        ("bf16", "decomposed"),
    ]


def test_what_pytorch_refuses_is_not_tried_with_the_other_form_of_attention(
    fall: Callable[..., Any],
) -> None:
    passed, _ = fall(
        lambda tried: ParityError("too far") if tried.precision != "fp32" else None,
        precision="fp16",
        engine=RTX,
    )
    assert [(a.precision, a.attention) for a in passed.attempts] == [
        ("fp16", "fused"),
        ("bf16", "fused"),
    ]


def test_strict_ends_at_the_first_that_fails(fall: Callable[..., Any]) -> None:
    with pytest.raises(EngineError, match="wrong on this GPU"):
        fall(refuse_engine(lambda _: True), precision="fp16", engine=RTX, strict=True)
    with pytest.raises(ParityError, match="too far"):
        fall(lambda _: ParityError("too far"), precision="fp16", strict=True)


def test_optional_engine_that_fails_leaves_the_graph_and_says_so(fall: Callable[..., Any]) -> None:
    passed, messages = fall(
        refuse_engine(lambda _: True), precision="fp16", engine=RTX, engine_optional=True
    )
    assert (passed.precision, passed.attention, passed.engine) == ("fp16", "fused", None)
    assert passed.attempts == ()
    assert len(messages) == 6
    assert messages[0] == "fp16 with fused attention is given up: wrong on this GPU"
    assert messages[-1] == "the artifact stays without an engine: wrong on this GPU"


@pytest.mark.parametrize("engine", [None, RTX])
def test_when_no_precision_passes_the_last_reason_is_said(
    engine: EngineOptions | None, fall: Callable[..., Any]
) -> None:
    with pytest.raises(ParityError, match=r"no precision is close enough .* reason: fp32 is off"):
        fall(
            lambda tried: ParityError(f"{tried.precision} is off"), precision="bf16", engine=engine
        )


def test_fp16_that_overflows_falls_back_to_bf16_and_says_so(
    overflowing_checkpoint: Path, tmp_path: Path
) -> None:
    messages: list[str] = []
    request = BuildRequest(
        checkpoint=overflowing_checkpoint, out=tmp_path / "out", precision="fp16", num_images=2
    )
    manifest = build_artifact(request, on_message=messages.append).manifest
    assert (manifest.requested_precision, manifest.precision) == ("fp16", "bf16")
    assert [attempt.precision for attempt in manifest.attempts] == ["fp16"]
    assert "encoder.blocks.0" in manifest.attempts[0].reason
    [message] = messages
    assert message == f"fp16 is given up: {manifest.attempts[0].reason}"


def test_strict_build_fails_instead_and_writes_nothing(
    overflowing_checkpoint: Path, tmp_path: Path
) -> None:
    request = BuildRequest(
        checkpoint=overflowing_checkpoint,
        out=tmp_path / "out",
        precision="fp16",
        num_images=2,
        strict=True,
    )
    with pytest.raises(ParityError, match=r"encoder\.blocks\.0"):
        build_artifact(request)
    assert list(tmp_path.iterdir()) == []


def test_large_stream_that_fp32_holds_is_only_a_warning(
    saved: Callable[..., Path], small_config: ModelConfig, tmp_path: Path
) -> None:
    model = build_model(small_config, seed=1)
    with torch.no_grad():
        model.encoder.pos_embed[..., 3] = OVERFLOWING
    request = BuildRequest(
        checkpoint=saved(model), out=tmp_path / "out", precision="fp16", num_images=2
    )
    manifest = build_artifact(request).manifest
    assert manifest.precision == "fp16"
    assert any("residual stream" in warning for warning in manifest.parity.warnings)


def test_precision_that_cannot_be_exported_is_given_up_too(
    small_checkpoint: Path,
    export: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def export_float32(model: MotivNet, **options: Any) -> Any:
        if model.encoder.patch_embed.projection.weight.dtype != torch.float32:
            raise ExportError("no half here")
        return export(model, **options)

    monkeypatch.setattr(fallback, "onnx_from_model", export_float32)
    request = BuildRequest(
        checkpoint=small_checkpoint, out=tmp_path / "out", precision="fp16", num_images=1
    )
    manifest = build_artifact(request).manifest
    assert manifest.precision == "fp32"
    assert [attempt.reason for attempt in manifest.attempts] == ["no half here", "no half here"]


def test_graph_that_is_not_the_model_is_refused(
    saved: Callable[..., Path],
    small_config: ModelConfig,
    export: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = build_model(small_config, seed=2)
    monkeypatch.setattr(fallback, "onnx_from_model", lambda _, **options: export(other, **options))
    request = BuildRequest(checkpoint=saved(), out=tmp_path / "out", num_images=2)
    with pytest.raises(ParityError, match="graph"):
        build_artifact(request)
    assert not (tmp_path / "out").exists()


def test_real_engine_that_fails_with_fused_attention_is_built_with_decomposed(
    small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions of TensorRT without the Attention operator are told apart before they compile."""
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr(
        "motivnet_engines.build.known_issues.installed_version", lambda backend: "1.2.0"
    )
    request = BuildRequest(
        checkpoint=small_checkpoint,
        out=tmp_path / "out",
        precision="fp16",
        num_images=1,
        engine=RTX,
    )
    manifest = build_artifact(request, on_message=str).manifest
    assert (manifest.precision, manifest.engines[0].attention) == ("fp16", "decomposed")
    assert "cannot build the Attention operator" in manifest.attempts[0].reason
    assert open_artifact(tmp_path / "out").manifest == manifest


def test_optional_engine_that_this_machine_cannot_build_costs_no_precision(
    small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorrt_rtx")

    def refused(*args: object, **kwargs: object) -> None:
        raise RuntimeUnavailableError("too little memory")

    monkeypatch.setattr(engine_artifact, "check_fits", refused)
    messages: list[str] = []
    request = BuildRequest(
        checkpoint=small_checkpoint,
        out=tmp_path / "out",
        precision="fp16",
        num_images=1,
        engine=RTX,
        engine_optional=True,
    )
    manifest = build_artifact(request, on_message=messages.append).manifest
    assert (manifest.precision, manifest.attention, manifest.engines) == ("fp16", "fused", ())
    assert messages == ["the artifact stays without an engine: too little memory"]
