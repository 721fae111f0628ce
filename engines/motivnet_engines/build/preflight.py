"""What a build will need, said before it is started: an hour on a Jetson must not end with the kernel killing it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from motivnet.artifact.manifest import Manifest
from motivnet.errors import RuntimeUnavailableError
from motivnet_engines.build.activations import activation_bytes
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.system.machine import Machine, memory_from_meminfo
from motivnet_engines.system.procfs import text_of

_ENGINE_BASE = 4_000_000
_ENGINE_BYTES_PER_BLOCK = 500_000
"""Kernels and tables beside the weights; 3.0 MB (one block) to 6.4 MB (six) were seen with TensorRT-RTX 1.7."""

_HOST_BASE = 300_000_000
_HOST_COPIES = 3
"""The process with its libraries, then the graph's weights, the network's and the engine's.

Seen with TensorRT-RTX: 0.29 to 0.40 GB for weights of 1 to 34 MB, 7.3 GB for 2.32 GB, 8.1 GB for
2.68 GB.
"""

_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildEstimate:
    """Bytes of the engine's file, of GPU memory for its activations, and of host memory at the
    build's peak.

    ``streams_weights`` where the engine may leave its weights in host memory.
    """

    engine_bytes: int
    activation_bytes: int
    host_peak_bytes: int
    streams_weights: bool = False

    @property
    def device_bytes(self) -> int:
        """GPU memory that one loaded engine with one execution context cannot do without."""
        return self.activation_bytes + (0 if self.streams_weights else self.engine_bytes)


def estimate_build(manifest: Manifest, options: EngineOptions) -> BuildEstimate:
    """What an engine of this artifact takes, from the graph's weights and the model's sizes.

    An attention in half precision is taken as fused, whether the graph has the operator or
    products: TensorRT-RTX fused both. In FP32 it is never fused.
    """
    weights, config = sum(manifest.graph.weight_bytes.values()), manifest.source.config
    return BuildEstimate(
        engine_bytes=weights + _ENGINE_BASE + _ENGINE_BYTES_PER_BLOCK * config.encoder.depth,
        activation_bytes=activation_bytes(
            config,
            precision=manifest.precision,
            fused=manifest.precision != "fp32",
            batch=options.profile_for(manifest).max_batch,
        ),
        host_peak_bytes=_HOST_BASE + _HOST_COPIES * weights,
        streams_weights=options.weight_streaming,
    )


def check_fits(
    estimate: BuildEstimate, machine: Machine, folder: Path, *, device_memory: int | None = None
) -> None:
    """Returns when a build is likely to fit; what is not known of the machine is not checked.

    Args:
        estimate: Of ``estimate_build``.
        machine: This one.
        folder: Where the engine will be written, or a folder that does not exist yet.
        device_memory: Bytes of the GPU that builds; None without one, as TensorRT-RTX needs none.

    Raises:
        RuntimeUnavailableError: With each shortage and what to do about it.
    """
    problems = [
        *_host_problems(estimate, machine),
        *_disk_problems(estimate, folder),
        *_device_problems(estimate, device_memory),
    ]
    if problems:
        raise RuntimeUnavailableError(
            f"the build would not fit this machine: {'; '.join(problems)}"
        )


def free_swap() -> int:
    """Bytes of swap that are free: a build on a Jetson may live off it. 0 where the kernel does not say."""
    return memory_from_meminfo(text_of(_MEMINFO), "SwapFree") or 0


def _host_problems(estimate: BuildEstimate, machine: Machine) -> list[str]:
    available = None if machine.memory_available is None else machine.memory_available + free_swap()
    have = min(
        (size for size in (available, machine.memory_limit) if size is not None), default=None
    )
    if have is None or estimate.host_peak_bytes <= have:
        return []
    return [
        f"it takes about {_gigabytes(estimate.host_peak_bytes)} of memory and {_gigabytes(have)} are to be had; "
        "close other programs, add swap, or build a smaller model or precision"
    ]


def _disk_problems(estimate: BuildEstimate, folder: Path) -> list[str]:
    try:
        free = shutil.disk_usage(_existing(folder)).free
    except OSError:  # a file system that does not tell is no reason to refuse
        return []
    if estimate.engine_bytes <= free:
        return []
    return [
        f"the engine takes about {_gigabytes(estimate.engine_bytes)} and the disk of {folder} has {_gigabytes(free)}; "
        "free some, or choose another --out"
    ]


def _device_problems(estimate: BuildEstimate, device_memory: int | None) -> list[str]:
    if device_memory is None or estimate.device_bytes <= device_memory:
        return []
    more = "" if estimate.streams_weights else ", or add --weight-streaming"
    return [
        f"the engine takes about {_gigabytes(estimate.device_bytes)} of GPU memory and the GPU has "
        f"{_gigabytes(device_memory)}; lower --max-batch{more}"
    ]


def _existing(folder: Path) -> Path:
    absolute = folder.absolute()
    return next(parent for parent in (absolute, *absolute.parents) if parent.exists())


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
