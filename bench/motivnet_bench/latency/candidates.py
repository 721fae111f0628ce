"""Who takes part: the PyTorch baselines first, then the runtimes that can open the artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from motivnet.artifact import Artifact
from motivnet.config import ModelConfig
from motivnet.errors import ConfigError, RuntimeUnavailableError
from motivnet_bench.latency.protocol import ArtifactModel, PyTorchModel, TorchCompute
from motivnet_bench.latency.result import Role
from motivnet_bench.latency.target import Subject
from motivnet_engines.runtimes.registry import (
    RUNTIMES,
    Verdict,
    default_runtime,
    installed_runtimes,
    verdict,
)

FP32_BASELINE = "pytorch-fp32"
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One row to be measured.

    ``default`` marks the runtime that opens the artifact where none is asked for; ``gate`` is what
    the build's gate said of the runtime, None for PyTorch; ``config`` are the sizes of the model.
    """

    name: str
    role: Role
    default: bool
    gate: Verdict | None
    model: PyTorchModel | ArtifactModel
    config: ModelConfig


def candidates_for(
    subject: Subject, *, device: str, runtimes: Sequence[str] = (), trust_engines: bool = False
) -> tuple[Candidate, ...]:
    """The baselines and the installed runtimes, or those named.

    A named runtime that is not installed takes part too: its row says why it cannot.

    Raises:
        ConfigError: If there is no runtime of a name.
    """
    unknown = [name for name in runtimes if name not in RUNTIMES]
    if unknown:
        raise ConfigError(f"no runtime is called {unknown[0]!r}; choose from {', '.join(RUNTIMES)}")
    default = default_name(subject.artifact, trust_engines=trust_engines)
    named = dict.fromkeys(
        runtimes or installed_runtimes(subject.artifact, trust_engines=trust_engines)
    )
    return (
        *_baselines(subject, device),
        *(_runtime(subject, name, default=name == default) for name in named),
    )


def default_name(artifact: Artifact, *, trust_engines: bool = False) -> str | None:
    """The runtime that opens the artifact where none is asked for; None where none may."""
    try:
        return default_runtime(artifact, trust_engines=trust_engines)
    except RuntimeUnavailableError:
        return None


def resolve_device(device: str) -> str:
    """Where the PyTorch baselines run: ``cuda`` for ``auto`` if PyTorch sees a GPU.

    Raises:
        ConfigError: If the device is not known, or is ``cuda`` where PyTorch sees none.
    """
    if device not in DEVICES:
        raise ConfigError(f"no device is called {device!r}; choose from {', '.join(DEVICES)}")
    if device == "cpu":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise ConfigError("PyTorch sees no CUDA device here; use --device cpu")
    return "cpu"


def _baselines(subject: Subject, device: str) -> tuple[Candidate, Candidate]:
    half = _pytorch(subject, "pytorch-bf16", "baseline-half", compute="bfloat16", device=device)
    if device == "cuda":
        half = _pytorch(subject, "pytorch-fp16", "baseline-half", compute="float16", device=device)
    return _pytorch(subject, FP32_BASELINE, "baseline-fp32", compute="float32", device=device), half


def _pytorch(
    subject: Subject, name: str, role: Role, *, compute: TorchCompute, device: str
) -> Candidate:
    model = PyTorchModel(
        checkpoint=None if subject.checkpoint is None else str(subject.checkpoint.absolute()),
        config=subject.artifact.manifest.source.config,
        compute=compute,
        device=device,
    )
    return Candidate(
        name=name, role=role, default=False, gate=None, model=model, config=model.config
    )


def _runtime(subject: Subject, name: str, *, default: bool) -> Candidate:
    model = ArtifactModel(folder=str(subject.artifact.folder.absolute()), runtime=name)
    gate = verdict(subject.artifact.manifest, name)
    config = subject.artifact.manifest.source.config
    return Candidate(
        name=name, role="runtime", default=default, gate=gate, model=model, config=config
    )
