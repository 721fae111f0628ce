"""Fixtures that run the product's runtime on the simulated TensorRT and the fake CUDA driver."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.engine_entry import (
    EngineBackend,
    EngineDevice,
    EngineEntry,
    EngineReport,
    ShapeProfile,
)
from motivnet.artifact.manifest import FileEntry
from motivnet.artifact.reference import REFERENCE_FILE, ReferenceSet
from motivnet_engines.runtimes.signature import input_from_pixels, input_shape, profile_shapes
from motivnet_engines.runtimes.tensorrt import log
from motivnet_engines.runtimes.tensorrt.api import MODULES
from motivnet_engines.runtimes.tensorrt.compatibility import this_platform
from motivnet_engines.runtimes.tensorrt.runtime import TensorRTRuntime

from .engine import engine_from_onnx, quiet
from .simulation import Simulation

VERSIONS = {"tensorrt": "10.16.1.11", "tensorrt-rtx": "1.7.1.116"}
GPU_NAME, GPU_CAPABILITY = "Simulated GPU (no real device)", "8.6"
MAX_BATCH = 8
MAX_SIZE = (300, 200)


@pytest.fixture
def tensorrt(fake: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Simulation]]:
    """A function that installs a simulated package; at the end nothing of it may be alive."""
    simulations: list[Simulation] = []
    monkeypatch.setattr(log, "_LOGGERS", {})

    def installed(backend: EngineBackend = "tensorrt", *, version: str | None = None) -> Simulation:
        simulation = Simulation(
            fake, rtx=backend == "tensorrt-rtx", version=version or VERSIONS[backend]
        )
        monkeypatch.setitem(sys.modules, MODULES[backend], simulation.module)
        simulations.append(simulation)
        return simulation

    yield installed
    for simulation in simulations:
        simulation.assert_clean()


@pytest.fixture
def engine_artifact(tmp_path: Path, trt_graph: Any) -> Callable[..., Artifact]:
    """A function that gives an artifact with a simulated engine; ``entry`` changes its entry."""

    def made(form: str = "fp32", backend: EngineBackend = "tensorrt", **entry: Any) -> Artifact:
        graph = trt_graph(form)
        folder = tmp_path / "artifacts" / form
        shutil.copytree(graph.onnx.parent, folder)
        profile = profile_of(graph.manifest)
        reference = reference_of(graph.onnx, graph.manifest)
        (folder / REFERENCE_FILE).write_bytes(reference.to_bytes())
        engine = msgspec.structs.replace(_entry(graph.manifest, backend, profile), **entry)
        lean = engine.version if engine.version_compatible else None
        shapes = {"image": profile_shapes(graph.manifest.input, profile)}
        data = engine_from_onnx(graph.onnx.read_bytes(), shapes, version_compatible=lean)
        (folder / "model.engine").write_bytes(data)
        return rewritten(folder, graph.manifest, engines=(engine,), reference=REFERENCE_FILE)

    return made


@pytest.fixture
def opened() -> Iterator[Callable[..., TensorRTRuntime]]:
    """A function that opens an artifact's engine, and closes it after the test."""
    runtimes: list[TensorRTRuntime] = []

    def opener(artifact: Artifact, **options: Any) -> TensorRTRuntime:
        options.setdefault("backend", artifact.manifest.engines[0].backend)
        runtimes.append(TensorRTRuntime(artifact, **options))
        return runtimes[-1]

    yield opener
    for runtime in runtimes:
        runtime.close()


def rewritten(folder: Path, manifest: Any, **changes: Any) -> Artifact:
    """The artifact of a folder whose manifest has changed, and names the files that are there."""
    files = tuple(_file(path) for path in sorted(folder.iterdir()) if path.name != "manifest.json")
    (folder / "manifest.json").write_bytes(
        msgspec.structs.replace(manifest, files=files, **changes).to_json()
    )
    return open_artifact(folder)


def profile_of(manifest: Any) -> ShapeProfile:
    size = manifest.input.preprocessing.size
    low, high = ((16, 16), MAX_SIZE) if manifest.input.any_size else (size, size)
    return ShapeProfile(
        min_batch=1, opt_batch=1, max_batch=MAX_BATCH, min_size=low, opt_size=size, max_size=high
    )


def images_of(
    artifact: Artifact, batch: int, *, seed: int = 0, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Random input of an artifact."""
    entry = artifact.manifest.input
    shape = input_shape(entry, batch, size or entry.preprocessing.size)
    generator = np.random.default_rng(seed)
    if entry.dtype == "uint8":
        return generator.integers(0, 256, shape, dtype=np.uint8)
    return generator.standard_normal(shape).astype(np.float32)


def expected_of(artifact: Artifact, array: np.ndarray) -> dict[str, np.ndarray]:
    """What ONNX Runtime gives for the input, in parts of the profile's largest batch."""
    session = _session(artifact.folder / artifact.manifest.model)
    parts = [
        session.run(None, {"image": array[i : i + MAX_BATCH]})
        for i in range(0, len(array), MAX_BATCH)
    ]
    names = [node.name for node in session.get_outputs()]
    return {
        name: np.concatenate([part[index] for part in parts]) for index, name in enumerate(names)
    }


def assert_same(outputs: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Bit for bit."""
    assert set(outputs) == set(expected)
    for name, output in outputs.items():
        assert output.dtype == expected[name].dtype
        np.testing.assert_array_equal(output, expected[name])


def reference_of(onnx: Path, manifest: Any) -> ReferenceSet:
    pixels = np.random.default_rng(7).integers(
        0, 256, (3, *manifest.input.preprocessing.size, 3), dtype=np.uint8
    )
    logits, embedding = _session(onnx).run(
        ["logits", "embedding"], {"image": input_from_pixels(manifest.input, pixels)}
    )
    return ReferenceSet(pixels=pixels, logits=logits, embedding=embedding)


def _session(onnx: Path) -> Any:
    return onnxruntime.InferenceSession(str(onnx), quiet(), providers=["CPUExecutionProvider"])


def _file(path: Path) -> FileEntry:
    data = path.read_bytes()
    return FileEntry(path=path.name, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def _entry(manifest: Any, backend: EngineBackend, profile: ShapeProfile) -> EngineEntry:
    return EngineEntry(
        backend=backend,
        path="model.engine",
        onnx_sha256=manifest.entry(manifest.model).sha256,
        version=VERSIONS[backend],
        platform=this_platform(),
        precision=manifest.precision,
        attention=manifest.attention,
        compute_capabilities=(),
        device=EngineDevice(
            name=GPU_NAME, compute_capability=GPU_CAPABILITY, memory=8 << 30, driver="13.0"
        ),
        profile=profile,
        hardware_compatibility="none",
        version_compatible=False,
        weight_streaming=False,
        build_seconds=1.0,
        build_peak_bytes=1,
        report=EngineReport(
            evidence="network",
            layers=1,
            matrix_layers={},
            attention_layers=0,
            attention_fused=None,
            activation_bytes=None,
        ),
    )
