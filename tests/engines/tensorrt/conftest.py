"""Graphs of the tiny model, and the engines that the real TensorRT-RTX compiler makes of them, each
built once.

The engines are compiled here and never executed: that needs a GPU.
"""

from __future__ import annotations

import copy
import fcntl
import functools
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from motivnet.artifact.engine_entry import EngineEntry
from motivnet.artifact.manifest import FileEntry, InputEntry, Manifest, Source
from motivnet.config import ModelConfig
from motivnet.files import sha256_of
from motivnet.labels import labels_for
from motivnet.model import MotivNet
from motivnet.parity import AttentionForm, ParityReport, Precision
from motivnet.preprocess import Preprocessing, PreprocessingName
from motivnet_engines.build.builder import engine_from_onnx
from motivnet_engines.build.options import EngineOptions
from motivnet_export.graph import save_onnx, summarise
from motivnet_export.precision import apply_precision
from motivnet_export.request import InputForm
from motivnet_export.torch_to_onnx import INPUT_NAME, OUTPUT_NAMES, onnx_from_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What is exported: a precision, a form of attention, and what the input is."""

    precision: Precision
    attention: AttentionForm
    input: InputForm = "float32"
    preprocessing: PreprocessingName = "stretch"


FORMS = {
    "fp16": Form(precision="fp16", attention="fused"),
    "uint8": Form(precision="fp16", attention="fused", input="uint8"),
    "image": Form(precision="fp16", attention="fused", input="image"),
    "fp16-decomposed": Form(precision="fp16", attention="decomposed"),
    "fp16-decomposed-uint8": Form(precision="fp16", attention="decomposed", input="uint8"),
    "fp16-decomposed-image": Form(precision="fp16", attention="decomposed", input="image"),
    "bf16": Form(precision="bf16", attention="fused"),
    "bf16-uint8": Form(precision="bf16", attention="fused", input="uint8"),
    "bf16-image": Form(precision="bf16", attention="fused", input="image"),
    "bf16-decomposed": Form(precision="bf16", attention="decomposed"),
    "bf16-decomposed-uint8": Form(precision="bf16", attention="decomposed", input="uint8"),
    "bf16-decomposed-image": Form(precision="bf16", attention="decomposed", input="image"),
    "bf16-decomposed-image-square": Form(
        precision="bf16",
        attention="decomposed",
        input="image",
        preprocessing="square-white-pad",
    ),
    "fp32": Form(precision="fp32", attention="decomposed"),
    "fp32-uint8": Form(precision="fp32", attention="decomposed", input="uint8"),
    "fp32-image": Form(precision="fp32", attention="decomposed", input="image"),
    "fp32-fused": Form(precision="fp32", attention="fused"),
}
"""Every precision with every form of attention and of input; FP32 has no fused attention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """An ONNX file and the manifest that promises what it is."""

    onnx: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine file, what its build said, and the graph that it was built from."""

    path: Path
    built: EngineEntry
    graph: Graph
    options: EngineOptions
    announced: tuple[str, ...]


GraphFactory = Callable[[str], Graph]
EngineFactory = Callable[..., Engine]

GRAPHS = "MOTIVNET_TEST_GRAPHS"
"""Environment variable: the folder of the exported graphs, which child processes use too."""

COMPILING = {"rtx_engine", "built_engine", "run_fake_worker", "caller", "check_of", "pycuda"}
"""Fixtures that start a compiler, or the process of one."""


def pytest_configure(config: pytest.Config) -> None:
    if GRAPHS not in os.environ:
        os.environ[GRAPHS] = tempfile.mkdtemp(prefix="motivnet-graphs-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(GRAPHS)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if COMPILING.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.compile)


@pytest.fixture(scope="session")
def rtx_installed() -> None:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("needs tensorrt-rtx, which the extra 'rtx' brings")


@pytest.fixture(scope="session")
def trt_graph(tiny_model: MotivNet, tiny_config: ModelConfig) -> GraphFactory:
    """A function that gives the tiny model's graph in one of the ``FORMS``, exported once."""

    @functools.cache
    def exported(name: str) -> Graph:
        folder = Path(os.environ[GRAPHS], name)
        folder.mkdir(exist_ok=True)
        with open(folder.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            manifest = folder / "manifest.json"
            if not manifest.exists():
                _export(FORMS[name], tiny_model, tiny_config, folder / "model.onnx")
            return Graph(
                onnx=folder / "model.onnx", manifest=Manifest.from_json(manifest.read_bytes())
            )

    return exported


@pytest.fixture
def graph_of_model(tmp_path: Path) -> Callable[..., Graph]:
    """A function that gives the graph of another model than the tiny one, in FP16 if not told."""

    def exported(model: MotivNet, config: ModelConfig, name: str = "fp16") -> Graph:
        _export(FORMS[name], model, config, tmp_path / "model.onnx")
        manifest = Manifest.from_json((tmp_path / "manifest.json").read_bytes())
        return Graph(onnx=tmp_path / "model.onnx", manifest=manifest)

    return exported


@pytest.fixture(scope="session")
def two_blocks() -> Callable[..., ModelConfig]:
    """A function that gives a named size with two blocks of its encoder and one of its decoder."""

    def config_of(name: str, image_size: tuple[int, int] = (128, 96)) -> ModelConfig:
        named, replace = ModelConfig.named(name, image_size=image_size), msgspec.structs.replace
        return replace(
            named, encoder=replace(named.encoder, depth=2), decoder=replace(named.decoder, depth=1)
        )

    return config_of


@pytest.fixture(scope="session")
def rtx_engine(
    rtx_installed: None, tmp_path_factory: pytest.TempPathFactory, trt_graph: GraphFactory
) -> EngineFactory:
    """A function that gives the TensorRT-RTX engine of one of the ``FORMS``, compiled once."""

    @functools.cache
    def built(name: str, sms: tuple[str, ...] = ("86",), **options: Any) -> Engine:
        folder = tmp_path_factory.mktemp("engines")
        if trt_graph(name).manifest.input.any_size:
            options.setdefault("max_size", (480, 640))
        return build_engine(trt_graph(name), folder, compute_capabilities=sms, **options)

    return built


@pytest.fixture(scope="session")
def built_engine(rtx_installed: None) -> EngineFactory:
    """A function that builds an engine of a graph into a folder, compiled every time."""
    return build_engine


def build_engine(graph: Graph, folder: Path, **options: Any) -> Engine:
    chosen = EngineOptions(
        **{"backend": "tensorrt-rtx", "compute_capabilities": ("86",), **options}
    )
    announced: list[str] = []
    path = folder / "model.engine"
    built = engine_from_onnx(
        graph.onnx, path, manifest=graph.manifest, options=chosen, on_message=announced.append
    )
    return Engine(path=path, built=built, graph=graph, options=chosen, announced=tuple(announced))


def _export(form: Form, tiny_model: MotivNet, config: ModelConfig, path: Path) -> None:
    model = copy.deepcopy(tiny_model)
    apply_precision(model, form.precision)
    entry = InputEntry(
        name=INPUT_NAME,
        dtype="float32" if form.input == "float32" else "uint8",
        preprocessing=Preprocessing.named(form.preprocessing, size=config.encoder.image_size),
        any_size=form.input == "image",
    )
    graph = onnx_from_model(
        model,
        attention=form.attention,
        input_dtype=entry.dtype,
        any_size=entry.any_size,
        preprocessing=entry.preprocessing,
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
        graph=summarise(graph),
        parity=ParityReport(
            passed=True, images=0, image_source="", comparisons=(), activations=(), warnings=()
        ),
    )
    (path.parent / "manifest.json").write_bytes(manifest.to_json())
