"""The builder's configuration out of the options of an engine."""

from __future__ import annotations

from typing import Any

from motivnet.artifact.manifest import HardwareCompatibility
from motivnet.errors import EngineError
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.runtimes.tensorrt.api import Api

_HARDWARE: dict[HardwareCompatibility, str] = {
    "ampere-plus": "AMPERE_PLUS",
    "same-compute-capability": "SAME_COMPUTE_CAPABILITY",
}


def apply_options(api: Api, config: Any, options: EngineOptions) -> None:
    """Sets everything but the profile, the monitor and the timing cache.

    The verbosity is always the detailed one: without it neither the engine nor the log names the
    layers, and there is no proof of what they are.

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
    _apply_compatibility(api, config, options)
    if options.compute_capabilities:
        _apply_compute_capabilities(api, config, options.compute_capabilities)


def _apply_compatibility(api: Api, config: Any, options: EngineOptions) -> None:
    if options.version_compatible:
        config.set_flag(api.trt.BuilderFlag.VERSION_COMPATIBLE)
        # A lean runtime inside the engine is host code, which the runner never allows an engine to
        # bring.
        config.set_flag(api.trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    if options.hardware_compatibility != "none":
        name = _HARDWARE[options.hardware_compatibility]
        if not hasattr(api.trt.HardwareCompatibilityLevel, name):
            raise EngineError(
                f"TensorRT {api.version} has no hardware compatibility {options.hardware_compatibility!r}"
            )
        config.hardware_compatibility_level = getattr(api.trt.HardwareCompatibilityLevel, name)


def _apply_compute_capabilities(api: Api, config: Any, names: tuple[str, ...]) -> None:
    if not hasattr(config, "set_compute_capability"):
        raise EngineError(
            f"{api.backend} {api.version} builds for the GPU of this machine alone; leave out --sm"
        )
    config.num_compute_capabilities = len(names)
    for index, name in enumerate(names):
        known = getattr(api.trt.ComputeCapability, f"SM{name}", None)
        if known is None or not config.set_compute_capability(known, index):
            raise EngineError(f"{api.backend} {api.version} does not compile for SM {name}")
