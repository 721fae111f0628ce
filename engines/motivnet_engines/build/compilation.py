"""One engine out of one graph, in this process: only the worker calls it, in a process that makes no other."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motivnet.artifact.manifest import EngineDevice, Manifest
from motivnet.errors import EngineError, FileError
from motivnet_engines.build.addresses import in_fresh_thread
from motivnet_engines.build.configuration import apply_options
from motivnet_engines.build.evidence import engine_proof
from motivnet_engines.build.messages import Success
from motivnet_engines.build.monitor import monitor_of
from motivnet_engines.build.network import (
    add_profile,
    check_network,
    parsed_network,
    profile_shapes,
)
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.build.proof import network_proof
from motivnet_engines.build.timing_cache import read_timing_cache, write_timing_cache
from motivnet_engines.runtimes.tensorrt.api import Api, load_api
from motivnet_engines.runtimes.tensorrt.cuda import open_memory
from motivnet_engines.runtimes.tensorrt.log import logger_of, tail_of
from motivnet_engines.system.nvidia import read_driver

_STATUS = Path("/proc/self/status")
_MAX_REASON = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Who hears of each stage and of the fraction done, and who says whether to stop."""

    stage: Callable[[str], None]
    fraction: Callable[[float], None]
    cancelled: Callable[[], bool]


def compile_engine(
    onnx: Path, out: Path, *, manifest: Manifest, options: EngineOptions, listeners: Listeners
) -> Success:
    """Writes an engine to ``out`` and says what it is, proven as far as this machine allows.

    Raises:
        MotivNetError: If it cannot be built or written.
    """
    listeners.stage(f"loading {options.backend}")
    api = load_api(options.backend)
    device = _device() if options.backend == "tensorrt" else None
    return in_fresh_thread(
        lambda: _compile(
            api, onnx, out, manifest=manifest, options=options, device=device, listeners=listeners
        )
    )


def _compile(
    api: Api,
    onnx: Path,
    out: Path,
    *,
    manifest: Manifest,
    options: EngineOptions,
    device: EngineDevice | None,
    listeners: Listeners,
) -> Success:
    builder = _builder(api)
    listeners.stage(f"parsing {onnx.name}")
    parsed = parsed_network(api, builder, onnx)
    check_network(parsed.network, manifest)
    config = builder.create_builder_config()
    apply_options(api, config, options)
    add_profile(
        builder, config, parsed.network, profile_shapes(manifest, options.profile_for(manifest))
    )
    config.progress_monitor = monitor_of(
        api, cancelled=listeners.cancelled, report=listeners.fraction
    )
    listeners.stage("compiling the graph")
    with build_with_timing_cache(api, config, options, device):
        serialized = _serialized(api, builder, parsed.network, config)
    listeners.stage("inspecting the engine")
    proof = engine_proof(
        api,
        serialized,
        network_proof(parsed.network),
        version_compatible=options.version_compatible,
    )
    listeners.stage("writing the engine")
    _write(serialized, out)
    warnings = tail_of(logger_of(api).lines)
    return Success(
        version=api.version, device=device, proof=proof, peak_bytes=_peak_bytes(), warnings=warnings
    )


def _device() -> EngineDevice:
    with contextlib.closing(open_memory()) as memory, memory.current():
        info = memory.device()
    return EngineDevice(
        name=info.name,
        compute_capability=info.compute_capability,
        memory=info.memory,
        driver=read_driver().version or f"CUDA {info.driver}",
    )


def _builder(api: Api) -> Any:
    try:
        return api.trt.Builder(logger_of(api, keep_all=True))
    except TypeError as error:  # how the bindings say that the library gave them nothing
        log = tail_of(logger_of(api).lines)
        raise EngineError(
            f"{api.backend} {api.version} gives no builder; motivnet doctor says why", log=log
        ) from error


@contextlib.contextmanager
def build_with_timing_cache(
    api: Api, config: Any, options: EngineOptions, device: EngineDevice | None
) -> Iterator[None]:
    """Kernels that an earlier build has timed are not timed again; nothing where no cache was asked for."""
    if options.timing_cache is None or device is None:
        yield
        return
    key = _cache_key(api, options, device)
    cache = config.create_timing_cache(read_timing_cache(options.timing_cache, key))
    # The second argument would take a cache of another GPU in silence, and its times are wrong
    # here.
    if not config.set_timing_cache(cache, False):
        raise EngineError(
            f"TensorRT refuses the timing cache {options.timing_cache}; remove it to begin another"
        )
    yield
    write_timing_cache(options.timing_cache, bytes(config.get_timing_cache().serialize()), key)


def _cache_key(api: Api, options: EngineOptions, device: EngineDevice) -> dict[str, str]:
    flags = {
        "hardware-compatibility": options.hardware_compatibility,
        "optimisation-level": options.optimisation_level,
        "version-compatible": options.version_compatible,
        "weight-streaming": options.weight_streaming,
    }
    return {
        "TensorRT": api.version,
        "GPU": device.name,
        "compute capability": device.compute_capability,
        "driver": device.driver,
        "flags": ", ".join(f"{name}={value}" for name, value in flags.items()),
    }


def _serialized(api: Api, builder: Any, network: Any, config: Any) -> Any:
    """The engine in TensorRT's own memory, from where it is written: a copy would cost its size once more."""
    logger = logger_of(api)
    try:
        serialized = builder.build_serialized_network(network, config)
    except MemoryError as error:
        raise EngineError(
            "the memory of this machine is too small for the build", log=tail_of(logger.lines)
        ) from error
    if serialized is None:
        log = tail_of(logger.lines)
        reason = (
            f": {textwrap.shorten(log[-1], _MAX_REASON, placeholder=' ...')}"
            if log
            else " and gave no reason"
        )
        raise EngineError(
            f"{api.backend} {api.version} could not compile the graph{reason}", log=log
        )
    return serialized


def _write(serialized: Any, out: Path) -> None:
    try:
        with out.open("wb") as file:
            file.write(serialized)
    except OSError as error:
        raise FileError(
            f"the engine of {serialized.nbytes:,} bytes was not written: {error.strerror}"
        ) from error


def _peak_bytes() -> int:
    """Largest resident memory of this process; ``getrusage`` would count that of the process which started it too."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
