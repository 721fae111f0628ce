"""The engine's tensors: their shapes, and whether they are what the manifest promises."""

from __future__ import annotations

import numpy as np

from motivnet.artifact.engine_entry import ShapeProfile
from motivnet.artifact.manifest import Manifest
from motivnet.errors import EngineError, InputError
from motivnet.runtime import TensorSpec
from motivnet_engines.runtimes.signature import check_graph, fits_profile, profile_shapes
from motivnet_engines.runtimes.tensorrt.context import Shape
from motivnet_engines.runtimes.tensorrt.engine import Engine


def fixed_shape(spec: TensorSpec, batch: int) -> Shape:
    """Return the shape of an output for a batch."""
    return tuple(batch if side is None else side for side in spec.shape)


def check_size(shape: Shape, manifest: Manifest, profile: ShapeProfile) -> None:
    """Check that images of this input shape have a size that the engine was built for.

    Raises:
        InputError: Naming the smallest and the largest size.
    """
    if manifest.input.any_size and not fits_profile(shape[1:3], profile):
        low, high = profile.min_size, profile.max_size
        raise InputError(
            f"the engine takes images of {low[0]}x{low[1]} to {high[0]}x{high[1]} "
            f"(height x width), not {shape[1]}x{shape[2]}; resize them, or build the engine with "
            "a larger --max-image"
        )


def check_tensors(engine: Engine, manifest: Manifest) -> None:
    """Check that the engine has exactly the inputs, outputs and profile of the manifest.

    Raises:
        ArtifactError: If an input or an output differs.
        EngineError: If the profile differs, or a tensor is not in the GPU's memory.
    """
    names = [engine.native.get_tensor_name(index) for index in range(engine.native.num_io_tensors)]
    input_mode = engine.api.trt.TensorIOMode.INPUT
    inputs = [name for name in names if engine.native.get_tensor_mode(name) == input_mode]
    check_graph(
        manifest,
        inputs=tuple(_spec_from_engine(engine, name) for name in inputs),
        outputs=tuple(_spec_from_engine(engine, name) for name in names if name not in inputs),
    )
    for name in names:
        if engine.native.get_tensor_location(name) != engine.api.trt.TensorLocation.DEVICE:
            raise EngineError(
                f"the engine's tensor {name!r} is not in the GPU's memory; build the engine again"
            )
    _check_profile(engine, manifest)


def _spec_from_engine(engine: Engine, name: str) -> TensorSpec:
    profile = engine.entry.profile
    sides: list[int | None] = [
        None if side == -1 else int(side) for side in engine.native.get_tensor_shape(name)
    ]
    # TensorRT fixes the batch where the profile has only one value; the manifest calls it free.
    if sides and profile.min_batch == profile.max_batch == sides[0]:
        sides[0] = None
    return TensorSpec(name=name, dtype=_dtype(engine, name), shape=tuple(sides))


def _dtype(engine: Engine, name: str) -> str:
    dtype = engine.native.get_tensor_dtype(name)
    try:
        return str(np.dtype(engine.api.trt.nptype(dtype)).name)
    except TypeError:  # BF16 and FP8, which NumPy does not have
        return str(dtype.name).lower()


def _check_profile(engine: Engine, manifest: Manifest) -> None:
    profile, name = engine.entry.profile, manifest.input.name
    expected = profile_shapes(manifest.input, profile)
    count = engine.native.num_optimization_profiles
    if count == 1:
        found = [tuple(shape) for shape in engine.native.get_tensor_profile_shape(name, 0)]
        shown = ", ".join(map(str, found))
    else:
        found, shown = [], f"{count} profiles"
    if found != expected:
        raise EngineError(
            f"the engine's profile is not the manifest's: {name!r} should be "
            f"{', '.join(map(str, expected))}, not {shown}; build the engine again with: "
            "motivnet build-engine"
        )
    if profile.min_batch != 1:
        raise EngineError(
            f"the engine's smallest batch is {profile.min_batch}, not 1; build the engine again"
        )
