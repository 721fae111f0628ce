"""A model of one block per part, and exports of it that the tests of this folder share."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
import torch

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.manifest import InputDtype
from motivnet.checkpoints import save_model
from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.labels import labels_for
from motivnet.model import MotivNet, build_model
from motivnet.parity import AttentionForm, Precision
from motivnet.preprocess import Preprocessing
from motivnet_export import fallback, torch_to_onnx
from motivnet_export.build import build_artifact
from motivnet_export.precision import apply_precision
from motivnet_export.request import BuildRequest

SIZE = (128, 96)
OVERFLOWING = 70_000.0


@pytest.fixture(scope="session")
def small_config() -> ModelConfig:
    return ModelConfig(
        encoder=EncoderConfig(embed_dim=32, depth=1, num_heads=2, image_size=SIZE),
        decoder=DecoderConfig(embed_dim=32, num_heads=2, depth=1, mlp_dim=32),
    )


@pytest.fixture(scope="session")
def stretch() -> Preprocessing:
    return Preprocessing.named("stretch", size=SIZE)


@pytest.fixture(scope="session")
def saved(
    tmp_path_factory: pytest.TempPathFactory, small_config: ModelConfig
) -> Callable[..., Path]:
    """Return a function that writes a checkpoint of the small model, or of one given."""

    def save(model: MotivNet | None = None) -> Path:
        path = tmp_path_factory.mktemp("checkpoints") / "small.safetensors"
        model = model or build_model(small_config, seed=1)
        save_model(model, path, config=small_config, labels=labels_for(7), preprocessing=None)
        return path

    return save


@pytest.fixture(scope="session")
def small_checkpoint(saved: Callable[..., Path]) -> Path:
    return saved()


@pytest.fixture(scope="session")
def overflowing_checkpoint(saved: Callable[..., Path], small_config: ModelConfig) -> Path:
    """A model that is sound in FP32 and BF16 and has numbers that FP16 does not hold."""
    model = build_model(small_config, seed=1)
    with torch.no_grad():
        model.encoder.blocks[0].mlp.fc2.bias[3] = OVERFLOWING
    return saved(model)


@pytest.fixture(scope="session", autouse=True)
def _shared_exports() -> Any:
    """Exports by PyTorch, the slow part of each build, are real and made once per graph."""
    real = torch_to_onnx.onnx_from_model
    graphs: dict[tuple[Any, ...], ir.Model] = {}

    def export(model: MotivNet, **options: Any) -> ir.Model:
        digest = hashlib.sha256(repr(model.encoder.kept_tokens).encode())
        for weight in model.state_dict().values():
            digest.update(f"{weight.dtype}{tuple(weight.shape)}".encode())
            digest.update(weight.contiguous().view(torch.uint8).numpy().tobytes())
        key = (digest.hexdigest(), *sorted((name, repr(value)) for name, value in options.items()))
        if key not in graphs:
            graphs[key] = real(model, **options)
        return graphs[key].clone()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fallback, "onnx_from_model", export)
        yield export


@pytest.fixture(scope="session")
def export(_shared_exports: Any) -> Callable[..., ir.Model]:
    """Return ``onnx_from_model``, which exports equal models once."""
    return _shared_exports  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def graph_of(
    export: Callable[..., ir.Model], small_config: ModelConfig, stretch: Preprocessing
) -> Callable[..., ir.Model]:
    """Return a function that exports the small model in a precision."""

    def exported(
        precision: Precision = "fp32",
        attention: AttentionForm = "fused",
        input_dtype: InputDtype = "float32",
        config: ModelConfig = small_config,
    ) -> ir.Model:
        model = build_model(config, seed=1)
        apply_precision(model, precision)
        return export(
            model,
            attention=attention,
            input_dtype=input_dtype,
            any_size=False,
            preprocessing=stretch,
        )

    return exported


@pytest.fixture(scope="session")
def small_artifact(
    tmp_path_factory: pytest.TempPathFactory, small_checkpoint: Path
) -> Callable[..., Artifact]:
    """Return a function that gives an artifact of the small model, built once."""

    @functools.cache
    def build(
        precision: Precision = "fp16", attention: AttentionForm | str = "auto", **options: Any
    ) -> Path:
        out = tmp_path_factory.mktemp("artifacts") / "small"
        request = BuildRequest(
            checkpoint=small_checkpoint,
            out=out,
            precision=precision,
            attention=attention,
            num_images=2,
            strict=True,
            **options,
        )
        build_artifact(request)
        return out

    return lambda *arguments, **options: open_artifact(build(*arguments, **options))
