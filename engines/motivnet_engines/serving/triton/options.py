"""What Triton is to serve: the options of an export, and the choice of file, batch and device."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Literal

from motivnet.artifact import Artifact
from motivnet.artifact.engine_entry import EngineEntry
from motivnet.artifact.manifest import Manifest
from motivnet.errors import ConfigError, EngineError, ParityError, RuntimeUnavailableError
from motivnet_engines.runtimes.own_engines import trust_advice, untrusted_engine
from motivnet_engines.runtimes.selection import parity_status

logger = logging.getLogger(__name__)

ModelForm = Literal["onnx", "tensorrt"]
Device = Literal["auto", "gpu", "cpu"]
DEVICES: tuple[Device, ...] = ("auto", "gpu", "cpu")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_ONLY_ON_GPUS = ("bf16", "fp8")
"""Precisions without operators for the CPU in ONNX Runtime."""

_RUNTIMES: dict[Device, tuple[str, ...]] = {
    "auto": ("onnxruntime-cuda", "onnxruntime"),
    "gpu": ("onnxruntime-cuda",),
    "cpu": ("onnxruntime",),
}
"""Our runtimes that compute as Triton's ONNX Runtime will, or may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonOptions:
    """What a user chooses for a model repository.

    Args:
        name: The model that clients call; other models of the repository begin with it.
        form: The artifact's TensorRT engine or its ONNX graph; the engine, if there is one, by
            default.
        device: Where instances run; ``auto`` is a GPU if Triton finds one.
        max_batch: The largest batch size; the artifact's if None.
        instances: Copies of the model, on each GPU.
        preprocess_instances: Processes that decode and resize; each keeps one core busy.
        max_queue_delay_us: Microseconds that a request waits for others to share a batch with.
        max_queue: Requests that wait before further ones are refused.
        trust_engines: Whether an engine that this user did not build here may be the default form.

    Raises:
        ConfigError: Naming the value that is not valid.
    """

    name: str = "motivnet"
    form: ModelForm | None = None
    device: Device = "auto"
    max_batch: int | None = None
    instances: int = 1
    preprocess_instances: int = 4
    max_queue_delay_us: int = 2_000
    max_queue: int = 256
    trust_engines: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"{self.name[:80]!r} is no name for a model; use letters, digits and _ . -"
            )
        if self.device not in DEVICES:
            raise ConfigError(f"there is no device {self.device!r}; choose {', '.join(DEVICES)}")
        for field in ("max_batch", "instances", "preprocess_instances", "max_queue"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ConfigError(f"{field} must be at least 1, not {value}")
        if self.max_queue_delay_us < 0:
            raise ConfigError(
                f"max_queue_delay_us must be at least 0, not {self.max_queue_delay_us}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is served: the engine, or the ONNX graph if None; its largest batch, and where."""

    engine: EngineEntry | None
    max_batch: int
    device: Device


def choose_model(artifact: Artifact, options: TritonOptions) -> Choice:
    """Choose what Triton is to serve of an artifact.

    Raises:
        ConfigError, EngineError, RuntimeUnavailableError: If Triton cannot serve it so.
        ParityError: If the runtime that Triton uses is known to differ too much from PyTorch.
    """
    manifest = artifact.manifest
    engine = _choose_engine(manifest, _choose_form(artifact, options))
    largest = manifest.max_batch
    if engine is not None:
        largest = min(largest, engine.profile.max_batch)
    if options.max_batch is not None and options.max_batch > largest:
        what = "graph" if engine is None else "engine"
        raise ConfigError(
            f"max_batch {options.max_batch} is more than the {largest} that the {what} takes; "
            f"build it again with --max-batch {options.max_batch}"
        )
    device = _choose_device(manifest, engine, options)
    for runtime in _RUNTIMES[device] if engine is None else (engine.backend,):
        _check_parity(manifest, runtime)
    return Choice(engine=engine, max_batch=options.max_batch or largest, device=device)


def _choose_form(artifact: Artifact, options: TritonOptions) -> ModelForm | None:
    """Return the form asked for; by default never an engine that this user did not build here."""
    if (
        options.form is not None
        or options.trust_engines
        or not untrusted_engine(artifact, "tensorrt")
    ):
        return options.form
    way = trust_advice("--triton-form tensorrt")
    if artifact.manifest.kind == "engine":
        raise RuntimeUnavailableError(
            f"{artifact.folder} holds a tensorrt engine alone, "
            f"and this user did not build it on this machine; {way}"
        )
    logger.warning(
        "the tensorrt engine is not exported, as this user did not build it on this machine; %s",
        way,
    )
    return "onnx"


def _choose_engine(manifest: Manifest, form: ModelForm | None) -> EngineEntry | None:
    engine = manifest.engine("tensorrt")
    if form == "onnx" or (form is None and engine is None):
        if manifest.kind == "onnx":
            return None
        raise RuntimeUnavailableError(
            "the artifact is an engine of TensorRT-RTX alone, which Triton has no backend for; "
            "export the artifact that it was built from"
            if engine is None
            else "the artifact is an engine alone; its ONNX graph stayed where it was built"
        )
    if engine is None:
        raise RuntimeUnavailableError(
            "the artifact has no tensorrt engine; build one with: motivnet build-engine"
        )
    if engine.profile.min_batch != 1:
        raise EngineError(
            f"the engine takes no batch below {engine.profile.min_batch}, and Triton sends some; "
            "build it again"
        )
    return engine


def _choose_device(
    manifest: Manifest, engine: EngineEntry | None, options: TritonOptions
) -> Device:
    if engine is None and manifest.precision not in _ONLY_ON_GPUS:
        return options.device
    if options.device == "cpu":
        what = f"{manifest.precision} graph" if engine is None else "tensorrt engine"
        raise ConfigError(
            f"a {what} runs on GPUs alone; leave the device to auto, or export an fp32 graph"
        )
    return "gpu"


def _check_parity(manifest: Manifest, runtime: str) -> None:
    """Refuse what is known to be wrong: Triton itself compares nothing with PyTorch."""
    state = parity_status(manifest, runtime)
    if state == "failed":
        raise ParityError(
            f"{runtime} is too far from PyTorch with this artifact, and Triton would compute as it "
            "does; choose another form or device, or build the artifact again"
        )
    if state == "unverified":
        logger.warning(
            "%s was not compared with PyTorch; run on the machine of Triton: motivnet verify",
            runtime,
        )
