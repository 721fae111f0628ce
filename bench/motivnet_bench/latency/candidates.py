"""The candidates of a run: the PyTorch baselines, then the runtimes that can open the artifact."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from motivnet.config import ModelConfig
from motivnet.errors import ConfigError, RuntimeUnavailableError
from motivnet_bench.latency.baselines import BASELINES, row_name
from motivnet_bench.latency.result import Role
from motivnet_bench.latency.worker import ArtifactModel, PyTorchModel
from motivnet_bench.target import Target
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
    target: Target,
    *,
    device: str,
    runtimes: Sequence[str] = (),
    baselines: Sequence[str] = (),
    trust_engines: bool = False,
) -> tuple[Candidate, ...]:
    """Return the baselines, and the installed runtimes or those named.

    A named runtime that is not installed takes part too: its row says why it cannot run.

    Raises:
        RuntimeUnavailableError: If none is named and none can open the artifact here.
    """
    artifact = target.artifact
    names = runtimes or installed_runtimes(artifact, trust_engines=trust_engines)
    default = None
    # Without any, its error says what to install.
    with contextlib.suppress(RuntimeUnavailableError) if names else contextlib.nullcontext():
        default = default_runtime(artifact, trust_engines=trust_engines)
    checkpoint = None if target.checkpoint is None else str(target.checkpoint.absolute())
    config = artifact.manifest.source.config
    return (
        *(
            baseline_candidate(
                name,
                checkpoint=checkpoint,
                ema=artifact.manifest.source.ema,
                config=config,
                device=device,
            )
            for name in dict.fromkeys(baselines)
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


def baseline_candidate(
    name: str, *, checkpoint: str | None, ema: bool, config: ModelConfig, device: str
) -> Candidate:
    """Return a baseline, such as ``pytorch-compile-bf16`` for ``compile-bf16``."""
    compute, compiler = BASELINES[name]
    return Candidate(
        name=row_name(name),
        role="baseline",
        model=PyTorchModel(
            checkpoint=checkpoint,
            ema=ema,
            config=config,
            compute=compute,
            compiler=compiler,
            device=device,
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
