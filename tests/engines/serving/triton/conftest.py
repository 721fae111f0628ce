"""Artifacts as Triton may meet them, and its own reader of configurations."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tritonclient.grpc import model_config_pb2

from motivnet.artifact import Artifact, open_artifact
from motivnet.engine_entry import EngineDevice, EngineEntry, EngineProof, ShapeProfile
from motivnet_export.build import build_artifact
from motivnet_export.request import BuildRequest, InputForm


@pytest.fixture
def encoded(pixels: Callable[[int], list[np.ndarray]]) -> Callable[[int], list[bytes]]:
    """A function that gives so many PNG files, each another image of another size."""

    def files(count: int) -> list[bytes]:
        made = []
        for array in pixels(count):
            buffer = io.BytesIO()
            Image.fromarray(array).save(buffer, "PNG")
            made.append(buffer.getvalue())
        return made

    return files


@pytest.fixture(scope="session")
def artifact_of_input(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Callable[[InputForm], Path]:
    """A function that gives the folder of an artifact with this form of input, built once."""
    built: dict[InputForm, Path] = {}

    def folder(form: InputForm) -> Path:
        if form not in built:
            out = tmp_path_factory.mktemp("inputs") / form
            build_artifact(
                BuildRequest(checkpoint=tiny_checkpoint, out=out, precision="fp32", input=form, parity_images=2)
            )
            built[form] = out
        return built[form]

    return folder


@pytest.fixture
def parsed() -> Callable[[Path, str], Any]:
    """A function that gives the configuration of a repository's model, read by Triton's own definition."""

    def configuration(repository: Path, model: str) -> Any:
        text = (repository / model / "config.pbtxt").read_text()
        return text_format.Parse(text, model_config_pb2.ModelConfig())

    return configuration


def with_manifest(artifact: Artifact, **changes: Any) -> Artifact:
    manifest = dataclasses.replace(artifact.manifest, **changes)
    (artifact.folder / "manifest.json").write_bytes(manifest.to_json())
    return open_artifact(artifact.folder)


@pytest.fixture
def engine_artifact(copied_artifact, file_entry) -> Artifact:
    """An artifact with a TensorRT engine in name: nothing here opens it."""
    artifact = copied_artifact("fp16")
    path = artifact.folder / "model.tensorrt.engine"
    path.write_bytes(b"an engine")
    sides = {"min_size": (128, 96), "opt_size": (128, 96), "max_size": (128, 96)}
    engine = EngineEntry(
        backend="tensorrt",
        path=path.name,
        onnx_sha256=artifact.manifest.entry("model.onnx").sha256,
        version="11.4.1",
        platform="linux-x86_64",
        precision="fp16",
        attention="fused",
        compute_capabilities=(),
        device=EngineDevice(name="NVIDIA L4", compute_capability="8.9", memory=1, driver="580.1"),
        profile=ShapeProfile(min_batch=1, opt_batch=1, max_batch=2, **sides),
        hardware_compatibility="none",
        version_compatible=False,
        weight_streaming=False,
        build_seconds=1.0,
        build_peak_bytes=1,
        proof=EngineProof(
            evidence="network",
            layers=1,
            matrix_layers={},
            attention_layers=0,
            attention_fused=None,
            activation_bytes=None,
        ),
    )
    files = (*artifact.manifest.files, file_entry(path))
    return with_manifest(artifact, files=files, engines=(engine,))
