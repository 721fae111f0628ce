"""Graphs of the tiny model, and the engines that the real TensorRT-RTX compiler makes of them, each
built once.

The engines are compiled here and never executed: that needs a GPU.
"""

from __future__ import annotations

import copy
import functools
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from motivnet.artifact.manifest import (
    AttentionForm,
    FileEntry,
    InputEntry,
    Manifest,
    ParityReport,
    Precision,
    Source,
)
from motivnet.config import ModelConfig
from motivnet.files import sha256_of
from motivnet.labels import labels_for
from motivnet.model import MotivNet
from motivnet.preprocess import InputRecipe
from motivnet_engines.build.builder import BuiltEngine, engine_from_onnx
from motivnet_engines.build.options import EngineOptions
from motivnet_export.precision import apply_precision
from motivnet_export.torch_to_onnx import (
    INPUT_NAME,
    OUTPUT_NAMES,
    onnx_from_model,
    save_onnx,
    summary_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What is exported: a precision, a form of attention, and what the input is."""

    precision: Precision
    attention: AttentionForm
    input: str = "float32"


FORMS = {
    "fp16": Form(precision="fp16", attention="fused"),
    "fp16-decomposed": Form(precision="fp16", attention="decomposed"),
    "bf16": Form(precision="bf16", attention="fused"),
    "fp32": Form(precision="fp32", attention="decomposed"),
    "fp32-fused": Form(precision="fp32", attention="fused"),
    "uint8": Form(precision="fp16", attention="fused", input="uint8"),
    "image": Form(precision="fp16", attention="fused", input="image"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """An ONNX file and the manifest that promises what it is."""

    onnx: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine file, what its build said, and the graph that it was built from."""

    path: Path
    built: BuiltEngine
    graph: Graph
    options: EngineOptions
    announced: tuple[str, ...]


GraphFactory = Callable[[str], Graph]
EngineFactory = Callable[..., Engine]


@pytest.fixture(scope="session")
def rtx_installed() -> None:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("needs tensorrt-rtx, which the extra 'rtx' brings")


@pytest.fixture(scope="session")
def fixed_addresses() -> None:
    """Skips where the builder's process cannot have the same addresses in every run."""
    program = (
        "from motivnet_engines.build.addresses import restart_with_fixed_addresses as restart\n"
        "restart(); print(open('/proc/self/personality').read())"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    if not int(found.stdout, 16) & 0x40000:
        pytest.skip(
            "this container forbids a process to have fixed addresses: one build in ten differs in its bytes"
        )


@pytest.fixture(scope="session")
def trt_graph(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: MotivNet, tiny_config: ModelConfig
) -> GraphFactory:
    """A function that gives the tiny model's graph in one of the ``FORMS``, exported once."""

    @functools.cache
    def exported(name: str) -> Graph:
        folder = tmp_path_factory.mktemp("graphs") / name
        folder.mkdir()
        return _exported(FORMS[name], tiny_model, tiny_config, folder / "model.onnx")

    return exported


@pytest.fixture(scope="session")
def rtx_engine(
    rtx_installed: None, tmp_path_factory: pytest.TempPathFactory, trt_graph: GraphFactory
) -> EngineFactory:
    """A function that gives the TensorRT-RTX engine of one of the ``FORMS`` for some SMs, compiled once."""

    @functools.cache
    def built(name: str, sms: tuple[str, ...] = ("86",), **options: Any) -> Engine:
        folder = tmp_path_factory.mktemp("engines")
        if trt_graph(name).manifest.input.any_size:
            options.setdefault("max_size", (480, 640))
        return build_engine(trt_graph(name), folder, compute_capabilities=sms, **options)

    return built


@pytest.fixture(scope="session")
def built_engine(rtx_installed: None) -> EngineFactory:
    """A function that builds an engine of a graph into a folder, every time anew."""
    return build_engine


def build_engine(graph: Graph, folder: Path, **options: Any) -> Engine:
    chosen = EngineOptions(
        **{"backend": "tensorrt-rtx", "compute_capabilities": ("86",), **options}
    )
    announced: list[str] = []
    path = folder / "model.engine"
    built = engine_from_onnx(
        graph.onnx, path, manifest=graph.manifest, options=chosen, announce=announced.append
    )
    return Engine(path=path, built=built, graph=graph, options=chosen, announced=tuple(announced))


def _exported(form: Form, tiny_model: MotivNet, config: ModelConfig, path: Path) -> Graph:
    model = copy.deepcopy(tiny_model)
    apply_precision(model, form.precision)
    entry = InputEntry(
        name=INPUT_NAME,
        dtype="float32" if form.input == "float32" else "uint8",
        recipe=InputRecipe.named("stretch", size=config.encoder.image_size),
        any_size=form.input == "image",
    )
    graph = onnx_from_model(
        model,
        attention=form.attention,
        input_dtype=entry.dtype,
        any_size=entry.any_size,
        recipe=entry.recipe,
    )
    save_onnx(graph, path)
    manifest = Manifest(
        kind="onnx",
        model=path.name,
        files=(FileEntry(path=path.name, size=path.stat().st_size, sha256=sha256_of(path)),),
        input=entry,
        outputs=OUTPUT_NAMES,
        labels=labels_for(7),
        max_batch=8,
        precision=form.precision,
        requested_precision=form.precision,
        attention=form.attention,
        source=Source(
            checkpoint=None, sha256=None, random_weights=True, fresh_head=False, config=config
        ),
        graph=summary_of(graph),
        parity=ParityReport(
            passed=True, images=0, image_source="", comparisons=(), activations=(), warnings=()
        ),
    )
    (path.parent / "manifest.json").write_bytes(manifest.to_json())
    return Graph(onnx=path, manifest=manifest)
