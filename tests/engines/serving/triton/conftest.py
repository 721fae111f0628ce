"""Artifacts as Triton may meet them, and its own reader of configurations."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tritonclient.grpc import model_config_pb2

from motivnet.artifact import Artifact
from motivnet_engines.runtimes.own_engines import remember_engine
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
def artifact_of_input(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path
) -> Callable[[InputForm], Path]:
    """A function that gives the folder of an artifact with this form of input, built once."""
    built: dict[InputForm, Path] = {}

    def folder(form: InputForm) -> Path:
        if form not in built:
            out = tmp_path_factory.mktemp("inputs") / form
            build_artifact(
                BuildRequest(
                    checkpoint=tiny_checkpoint,
                    out=out,
                    precision="fp32",
                    input=form,
                    num_images=2,
                )
            )
            built[form] = out
        return built[form]

    return folder


@pytest.fixture
def parsed() -> Callable[[Path, str], Any]:
    """A function that parses a model's configuration with Triton's own definition."""

    def configuration(repository: Path, model: str) -> Any:
        text = (repository / model / "config.pbtxt").read_text()
        return text_format.Parse(text, model_config_pb2.ModelConfig())

    return configuration


@pytest.fixture
def own_engine_artifact(engine_artifact: Artifact) -> Artifact:
    """The artifact with an engine, as if it had been built here."""
    remember_engine(engine_artifact.manifest.entry(engine_artifact.manifest.engines[0].path).sha256)
    return engine_artifact
