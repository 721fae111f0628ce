"""What the tests on a GPU share: the device, engines that are built once, and the commands."""

from __future__ import annotations

import ctypes
import functools
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.artifact.engine_entry import EngineBackend, EngineEntry
from motivnet.checkpoints import save_model
from motivnet.config import ModelConfig
from motivnet.errors import MissingDependencyError
from motivnet.labels import EMOTIONS, labels_for
from motivnet.model import MotivNet, build_model
from motivnet.model.runtime import TorchRuntime
from motivnet.parity import Outputs, Precision
from motivnet.preprocess import Preprocessing
from motivnet.synthetic import synthetic_faces
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.runtimes.tensorrt.api import RTX_COMPUTE_CAPABILITIES, load_api
from motivnet_engines.system.nvidia import Gpu, read_driver
from motivnet_export.build import build_artifact
from motivnet_export.request import BuildRequest

IMAGES = 19
"""More than two of the largest batch, and no multiple of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model with random weights, its checkpoint, and its FP32 outputs for ``pixels``."""

    model: MotivNet
    config: ModelConfig
    checkpoint: Path
    pixels: NDArray[np.uint8]
    reference: Outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that ended: its status and what it wrote."""

    status: int
    output: str
    errors: str

    @property
    def document(self) -> Any:
        """Its output as JSON."""
        assert self.status == 0, self.errors
        return json.loads(self.output)


SubjectOf = Callable[[str], Subject]
ArtifactOf = Callable[..., Artifact]
Run = Callable[..., Done]


@pytest.fixture(scope="session")
def gpu() -> Gpu:
    """The first GPU; without one, every test here is skipped and says so."""
    driver = read_driver()
    if not driver.gpus:
        pytest.skip(f"needs an NVIDIA GPU: {driver.missing_requirement}")
    return driver.gpus[0]


@pytest.fixture(scope="session")
def subject_of(gpu: Gpu, tmp_path_factory: pytest.TempPathFactory) -> SubjectOf:
    """A function that gives the model of a named size; the same one each time."""

    @functools.cache
    def subject(size: str) -> Subject:
        config = ModelConfig.named(size)
        preprocessing = Preprocessing.named("stretch", size=config.encoder.image_size)
        model = build_model(config, seed=1)
        checkpoint = tmp_path_factory.mktemp("checkpoints") / f"{size}.safetensors"
        save_model(
            model, checkpoint, config=config, labels=labels_for(7), preprocessing=preprocessing
        )
        faces = synthetic_faces(IMAGES, seed=7, size=preprocessing.size, labels=EMOTIONS)
        pixels = np.stack([preprocessing.pixels(face) for face in faces])
        return Subject(
            model=model,
            config=config,
            checkpoint=checkpoint,
            pixels=pixels,
            reference=_reference(model, config, preprocessing, pixels),
        )

    return subject


@pytest.fixture(scope="session")
def artifact_of(
    gpu: Gpu, subject_of: SubjectOf, tmp_path_factory: pytest.TempPathFactory
) -> ArtifactOf:
    """A function that gives the artifact of a size in a precision with an engine; each is built
    once.

    The test is skipped, with the reason, where the backend is not installed or not for this GPU.
    """

    @functools.cache
    def artifact(
        size: str, precision: Precision, backend: EngineBackend, **changes: Any
    ) -> Artifact:
        options = options_for(backend, gpu)
        request = BuildRequest(
            checkpoint=subject_of(size).checkpoint,
            out=tmp_path_factory.mktemp("artifacts") / f"{size}-{precision}-{backend}",
            precision=precision,
            num_images=4,
            engine=options,
            **changes,
        )
        return build_artifact(request, on_message=print)

    return artifact


@pytest.fixture(scope="session")
def run() -> Run:
    """A function that runs a command of the toolkit in a process of its own."""

    def ran(module: str, *words: str | Path, cwd: Path | None = None) -> Done:
        name = {
            "motivnet_engines": "motivnet",
            "motivnet_export": "motivnet-export",
            "motivnet_bench": "motivnet-bench",
        }
        program = (
            f"import sys; from {module}.cli import main; sys.argv[0] = {name[module]!r}; main()"
        )
        command = [sys.executable, "-c", program, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
        return Done(status=done.returncode, output=done.stdout, errors=done.stderr)

    return ran


@pytest.fixture(scope="session")
def free_memory(gpu: Gpu) -> Callable[[], int]:
    """A function that gives the free bytes of the first GPU, asked of the driver itself."""
    driver = ctypes.CDLL("libcuda.so.1")
    device, context = ctypes.c_int(), ctypes.c_void_p()
    checked(driver.cuInit(0))
    checked(driver.cuDeviceGet(ctypes.byref(device), 0))
    checked(driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device))

    def free() -> int:
        left, total = ctypes.c_size_t(), ctypes.c_size_t()
        checked(driver.cuCtxPushCurrent_v2(context))
        try:
            checked(driver.cuMemGetInfo_v2(ctypes.byref(left), ctypes.byref(total)))
        finally:
            checked(driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p())))
        return left.value

    return free


@pytest.fixture
def entry_of() -> Callable[[Artifact, EngineBackend], EngineEntry]:
    """A function that gives an artifact's engine of a backend."""

    def entry(artifact: Artifact, backend: EngineBackend) -> EngineEntry:
        found = artifact.manifest.engine(backend)
        assert found is not None
        return found

    return entry


def options_for(backend: EngineBackend, gpu: Gpu) -> EngineOptions:
    """What builds for this GPU; a skip where nothing does."""
    try:
        load_api(backend)
    except MissingDependencyError as error:
        pytest.skip(str(error))
    if backend == "tensorrt":
        return EngineOptions(backend=backend)
    if gpu.sm not in RTX_COMPUTE_CAPABILITIES:
        pytest.skip(f"TensorRT-RTX does not compile for the {gpu.name} (SM {gpu.sm})")
    return EngineOptions(backend=backend, compute_capabilities=(gpu.sm,))


def checked(status: int) -> None:
    assert status == 0, f"the CUDA driver returned {status}"


def _reference(
    model: MotivNet, config: ModelConfig, preprocessing: Preprocessing, pixels: NDArray[np.uint8]
) -> Outputs:
    with TorchRuntime(model, config=config) as runtime:
        rows = [runtime.run({"image": preprocessing.normalise(pixel[None])}) for pixel in pixels]
    return Outputs(
        logits=np.concatenate([row["logits"] for row in rows]),
        embedding=np.concatenate([row["embedding"] for row in rows]),
        seconds_per_image=0.0,
    )
