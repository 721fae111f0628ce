"""One engine from one graph, in this process; ``worker`` calls it once per process."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from motivnet.artifact.engine_entry import EngineDevice, HardwareCompatibility
from motivnet.artifact.manifest import Manifest
from motivnet.child_process import Connection
from motivnet.errors import EngineError, FileError
from motivnet_engines.build.engine_report import (
    is_about_the_engine,
    report_from_engine,
    report_from_network,
)
from motivnet_engines.build.layer_evidence import nodes_from_network
from motivnet_engines.build.messages import Advance, Stage, Success
from motivnet_engines.build.network import add_profile, check_network, parse_network
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.build.progress import create_monitor
from motivnet_engines.build.timing_cache import read_timing_cache, write_timing_cache
from motivnet_engines.runtimes.signature import profile_shapes
from motivnet_engines.runtimes.tensorrt.api import Api, load_api
from motivnet_engines.runtimes.tensorrt.cuda import open_memory
from motivnet_engines.runtimes.tensorrt.log import logger_of, tail_of
from motivnet_engines.system.machine import memory_from_meminfo, process_status
from motivnet_engines.system.nvidia import read_driver

_HARDWARE: dict[HardwareCompatibility, str] = {
    "ampere-plus": "AMPERE_PLUS",
    "same-compute-capability": "SAME_COMPUTE_CAPABILITY",
}


def compile_engine(
    onnx: Path, out: Path, *, manifest: Manifest, options: EngineOptions, parent: Connection
) -> Success:
    """Write an engine to ``out``, and return what it is as far as this machine can tell.

    Args:
        manifest: What the graph is promised to be.
        parent: Is told of the progress; the end of its messages cancels the build.

    Raises:
        MotivNetError: If it cannot be built or written.
    """
    parent.send(Stage(stage=f"loading {options.backend}"))
    api = load_api(options.backend)
    device = _read_device() if options.backend == "tensorrt" else None
    builder = _create_builder(api)

    parent.send(Stage(stage=f"parsing {onnx.name}"))
    # The parser owns the weights until the end.
    network, _parser = parse_network(api, builder, onnx, attention=manifest.attention)
    check_network(network, manifest)
    config = builder.create_builder_config()
    apply_options(api, config, options)
    shapes = profile_shapes(manifest.input, options.profile_for(manifest))
    add_profile(builder, config, network, shapes)
    # Asked after each step, and cheaper than a thread that waits for the end of the input.
    config.progress_monitor = create_monitor(
        api,
        is_cancelled=parent.has_input,
        on_fraction=lambda fraction: parent.send(Advance(fraction=fraction)),
    )

    parent.send(Stage(stage="compiling the graph"))
    with build_with_timing_cache(api, config, options, device):
        serialized = _build_serialized(api, builder, network, config)

    parent.send(Stage(stage="writing the engine"))
    try:
        with out.open("wb") as file:
            file.write(serialized)
    except OSError as error:
        raise FileError(
            f"the engine of {serialized.nbytes:,} bytes was not written: {error.strerror}"
        ) from error

    parent.send(Stage(stage="inspecting the engine"))
    parsed, nodes = report_from_network(network), nodes_from_network(network)
    del network, _parser, config, builder  # the engine is loaded beside what is left
    report, doubts = report_from_engine(
        api,
        serialized,
        parsed,
        nodes,
        precision=manifest.precision,
        version_compatible=options.version_compatible,
    )
    return Success(
        version=api.version,
        device=device,
        report=report,
        # Of this process alone: `getrusage` would count the process that started it too.
        peak_bytes=memory_from_meminfo(process_status(), "VmHWM") or 0,
        warnings=(*tail_of(logger_of(api).lines), *doubts),
    )


def apply_options(api: Api, config: Any, options: EngineOptions) -> None:
    """Set everything but the profile, the monitor and the timing cache.

    The verbosity is always the detailed one: without it neither the engine nor the log names the
    layers, and there is no report of what they are.

    Raises:
        EngineError: If this version of the package cannot do what was asked.
    """
    config.profiling_verbosity = api.trt.ProfilingVerbosity.DETAILED
    # On by default, it rounds the operands of an FP32 product to 10 bits of mantissa: that is not
    # FP32.
    config.clear_flag(api.trt.BuilderFlag.TF32)
    if options.workspace is not None:
        config.set_memory_pool_limit(api.trt.MemoryPoolType.WORKSPACE, options.workspace)
    if options.optimisation_level is not None:
        config.builder_optimization_level = options.optimisation_level
    if options.weight_streaming:
        config.set_flag(api.trt.BuilderFlag.WEIGHT_STREAMING)
    if options.version_compatible:
        config.set_flag(api.trt.BuilderFlag.VERSION_COMPATIBLE)
        # A lean runtime inside the engine is host code, which the runtime never lets an engine
        # bring.
        config.set_flag(api.trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    if options.hardware_compatibility != "none":
        name = _HARDWARE[options.hardware_compatibility]
        if not hasattr(api.trt.HardwareCompatibilityLevel, name):
            raise EngineError(
                f"TensorRT {api.version} has no hardware compatibility "
                f"{options.hardware_compatibility!r}"
            )
        config.hardware_compatibility_level = getattr(api.trt.HardwareCompatibilityLevel, name)
    if options.compute_capabilities:
        _set_compute_capabilities(api, config, options.compute_capabilities)


def _set_compute_capabilities(api: Api, config: Any, names: tuple[str, ...]) -> None:
    if not hasattr(config, "set_compute_capability"):
        raise EngineError(
            f"{api.backend} {api.version} builds for the GPU of this machine alone; leave out --sm"
        )
    config.num_compute_capabilities = len(names)
    for index, name in enumerate(names):
        known = getattr(api.trt.ComputeCapability, f"SM{name}", None)
        if known is None or not config.set_compute_capability(known, index):
            raise EngineError(f"{api.backend} {api.version} does not compile for SM {name}")


@contextlib.contextmanager
def build_with_timing_cache(
    api: Api, config: Any, options: EngineOptions, device: EngineDevice | None
) -> Iterator[None]:
    """Build inside with the timings of earlier builds, and keep the new ones, if that was asked.

    Raises:
        EngineError: If TensorRT refuses the cache, or it was measured on something else.
    """
    if options.timing_cache is None or device is None:
        yield
        return
    flags = {
        "hardware-compatibility": options.hardware_compatibility,
        "optimisation-level": options.optimisation_level,
        "version-compatible": options.version_compatible,
        "weight-streaming": options.weight_streaming,
    }
    key = {
        "TensorRT": api.version,
        "GPU": device.name,
        "compute capability": device.compute_capability,
        "driver": device.driver,
        "flags": ", ".join(f"{name}={value}" for name, value in flags.items()),
    }
    cache = config.create_timing_cache(read_timing_cache(options.timing_cache, key))
    # True as the second argument would accept a cache of another GPU, whose times are wrong here.
    if not config.set_timing_cache(cache, False):
        raise EngineError(
            f"TensorRT refuses the timing cache {options.timing_cache}; remove it to begin another"
        )
    yield
    write_timing_cache(options.timing_cache, bytes(config.get_timing_cache().serialize()), key)


def _read_device() -> EngineDevice:
    with contextlib.closing(open_memory()) as memory, memory.current():
        device = memory.device()
    return msgspec.structs.replace(device, driver=read_driver().version or f"CUDA {device.driver}")


def _create_builder(api: Api) -> Any:
    try:
        return api.trt.Builder(logger_of(api, keep=is_about_the_engine))
    except TypeError as error:  # what the bindings make of a null pointer
        log = tail_of(logger_of(api).lines)
        raise EngineError(
            f"{api.backend} {api.version} gives no builder; motivnet doctor says why", log=log
        ) from error


def _build_serialized(api: Api, builder: Any, network: Any, config: Any) -> Any:
    """Build the engine in TensorRT's own memory; a copy would need the engine's size once more."""
    try:
        serialized = builder.build_serialized_network(network, config)
    except MemoryError as error:
        raise EngineError(
            "the memory of this machine is too small for the build",
            log=tail_of(logger_of(api).lines),
        ) from error
    if serialized is None:
        log = tail_of(logger_of(api).lines)
        reason = " and gave no reason"
        if log:
            reason = f": {textwrap.shorten(log[-1], 300, placeholder=' ...')}"
        raise EngineError(
            f"{api.backend} {api.version} could not compile the graph{reason}", log=log
        )
    return serialized
