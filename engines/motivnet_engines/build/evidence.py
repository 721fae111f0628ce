"""The proof of an engine that has just been built, from the strongest evidence that there is here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from motivnet.artifact.manifest import EngineProof
from motivnet.errors import EngineError
from motivnet_engines.build.layers import layers_from_inspector, layers_from_log
from motivnet_engines.build.proof import activation_bytes_from_log, proof_from_layers
from motivnet_engines.runtimes.tensorrt.api import Api
from motivnet_engines.runtimes.tensorrt.log import logger_of, tail_of


def engine_proof(
    api: Api, serialized: Any, network: EngineProof, *, version_compatible: bool
) -> EngineProof:
    """From the engine itself with ``tensorrt``, else from the compiler's list of layers, else from
    the network alone.

    Only ``tensorrt`` loads the engine, for it builds on the engine's own GPU. TensorRT-RTX builds
    ahead of time.

    Args:
        serialized: The engine in TensorRT's memory.
        network: What the parsed network says.
        version_compatible: Whether the engine may need another runtime than this one, so that
        loading it may fail.

    Raises:
        EngineError: If TensorRT cannot load what it has just built.
    """
    lines = logger_of(api).lines
    activation_bytes = activation_bytes_from_log(lines)
    if api.backend == "tensorrt" and (
        text := _inspection(api, serialized, may_fail=version_compatible)
    ):
        return proof_from_layers(
            layers_from_inspector(text),
            network=network,
            evidence="inspector",
            activation_bytes=activation_bytes,
        )
    if compiled := layers_from_log(lines):
        return proof_from_layers(
            compiled, network=network, evidence="compiler", activation_bytes=activation_bytes
        )
    return replace(network, activation_bytes=activation_bytes)


def _inspection(api: Api, serialized: Any, *, may_fail: bool) -> str | None:
    """The inspector's JSON, None where the engine cannot be loaded and that is no fault."""
    engine = api.trt.Runtime(logger_of(api)).deserialize_cuda_engine(serialized)
    if engine is None and not may_fail:
        raise EngineError(
            "TensorRT cannot load the engine that it built", log=tail_of(logger_of(api).lines)
        )
    if engine is None:
        return None
    inspector = engine.create_engine_inspector()
    # Without a context that knows the shapes, the layers of a free batch are reported without their
    # tensors.
    context = engine.create_execution_context()
    if context is not None:
        for index in range(engine.num_io_tensors):
            _set_best_shape(api, engine, context, engine.get_tensor_name(index))
        inspector.execution_context = context
    return str(inspector.get_engine_information(api.trt.LayerInformationFormat.JSON))


def _set_best_shape(api: Api, engine: Any, context: Any, name: str) -> None:
    """Gives an input the shape that the engine is fastest at."""
    if engine.get_tensor_mode(name) == api.trt.TensorIOMode.INPUT:
        context.set_input_shape(name, engine.get_tensor_profile_shape(name, 0)[1])
