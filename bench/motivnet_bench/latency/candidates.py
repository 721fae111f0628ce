"""The candidates of a run: the PyTorch baselines, then the runtimes that can open the artifact."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from motivnet.errors import ConfigError, RuntimeUnavailableError
from motivnet_bench.latency.result import Role
from motivnet_bench.latency.worker import ArtifactModel, PyTorchModel
from motivnet_bench.target import Target, TorchCompute
from motivnet_engines.runtimes.registry import RUNTIMES
from motivnet_engines.runtimes.selection import (
    ParityStatus,
    default_runtime,
    installed_runtimes,
    parity_status,
)

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One row to be measured; ``default`` and ``parity`` as in ``CandidateResult``."""

    name: str
    role: Role
    default: bool = False
    parity: ParityStatus | None = None
    model: PyTorchModel | ArtifactModel


def choose_candidates(
    target: Target, *, device: str, runtimes: Sequence[str] = (), trust_engines: bool = False
) -> tuple[Candidate, ...]:
    """Return the baselines, and the installed runtimes or those named.

    A named runtime that is not installed takes part too: its row says why it cannot run.

    Raises:
        ConfigError: If there is no runtime of a name.
    """
    unknown = [name for name in runtimes if name not in RUNTIMES]
    if unknown:
        raise ConfigError(f"no runtime is called {unknown[0]!r}; choose from {', '.join(RUNTIMES)}")
    artifact = target.artifact
    default = None
    with contextlib.suppress(RuntimeUnavailableError):
        default = default_runtime(artifact, trust_engines=trust_engines)
    names = runtimes or installed_runtimes(artifact, trust_engines=trust_engines)
    checkpoint = None if target.checkpoint is None else str(target.checkpoint.absolute())
    baselines: list[tuple[str, Role, TorchCompute]] = [
        ("pytorch-fp32", "baseline-fp32", "float32"),
        ("pytorch-fp16", "baseline-half", "float16")
        if device == "cuda"
        else ("pytorch-bf16", "baseline-half", "bfloat16"),
    ]
    return (
        *(
            Candidate(
                name=name,
                role=role,
                model=PyTorchModel(
                    checkpoint=checkpoint,
                    ema=artifact.manifest.source.ema,
                    config=artifact.manifest.source.config,
                    compute=compute,
                    device=device,
                ),
            )
            for name, role, compute in baselines
        ),
        *(
            Candidate(
                name=name,
                role="runtime",
                default=name == default,
                parity=parity_status(artifact.manifest, name),
                model=ArtifactModel(folder=str(artifact.folder.absolute()), runtime=name),
            )
            for name in dict.fromkeys(names)
        ),
    )


def resolve_device(device: Device) -> str:
    """Return where PyTorch runs: ``cuda`` for ``auto`` if PyTorch sees a GPU.

    Raises:
        ConfigError: If the device is ``cuda`` and PyTorch sees none.
    """
    if device == "cpu":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise ConfigError("PyTorch sees no CUDA device here; use --device cpu")
    return "cpu"
