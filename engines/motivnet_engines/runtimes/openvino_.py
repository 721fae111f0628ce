"""OpenVINO as a ``Runtime``, on the CPU in float32 or bfloat16."""

from __future__ import annotations

import contextlib
import functools
import threading
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.errors import (
    ArtifactError,
    ConfigError,
    MissingDependencyError,
    RuntimeUnavailableError,
)
from motivnet.runtime import Arrays, TensorSpec, check_inputs
from motivnet_engines.runtimes.native_calls import in_main_thread, is_out_of_memory, native_errors
from motivnet_engines.runtimes.signature import check_graph, input_specs, output_specs

try:
    import openvino
except ModuleNotFoundError as error:
    raise MissingDependencyError("openvino", extra="cpu") from error
except ImportError as error:
    raise RuntimeUnavailableError(f"openvino is installed but cannot be loaded: {error}") from error

Compute = Literal["float32", "bfloat16"]

_STEP_MS = 100
"""How long Ctrl-C may have to wait; a call that ends earlier is heard at once."""

_HINTS: dict[Compute, str] = {"float32": "f32", "bfloat16": "bf16"}


class OpenVINORuntime:
    """An artifact opened by OpenVINO, computed in the dtype asked for whatever the precision of its
    graph.

    ``run`` may be called from several threads; the calls run one after another. The latency hint
    gives OpenVINO one stream, so a second request would gain nothing and hold a second set of
    activations.

    Args:
        artifact: What to open; its files are verified first.
        compute: ``float32``, or ``bfloat16`` where the processor has instructions for it.
        threads: Threads of one call; OpenVINO's choice (the physical cores) if None.

    Raises:
        ArtifactError: If the files are not what the manifest says, or not a graph that OpenVINO
        takes.
        RuntimeUnavailableError: If the processor has no BF16 instructions and they were asked for.
        ConfigError: If ``threads`` is below 1.
    """

    def __init__(
        self, artifact: Artifact, *, compute: Compute = "float32", threads: int | None = None
    ) -> None:
        check_compute(compute)
        self._artifact, self._options = artifact, _options(compute, threads)
        compiled = _open_compiled(artifact, self._options)
        manifest = artifact.manifest
        self.name = "openvino-bf16" if compute == "bfloat16" else "openvino"
        self.compute = compute
        self.inputs = input_specs(manifest)
        self.outputs = output_specs(manifest)
        check_graph(
            manifest,
            inputs=tuple(_spec_from_port(port, self.inputs) for port in compiled.inputs),
            outputs=tuple(_spec_from_port(port, self.outputs) for port in compiled.outputs),
        )
        self._lock = threading.Lock()
        self._request: Any = compiled.create_infer_request()
        self._is_closed = False

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Every output by name.

        Raises:
            InputError: If the arrays do not fit ``inputs``.
            RuntimeUnavailableError: After ``close``, or if the memory is not enough.
            ArtifactError: If OpenVINO cannot compute the graph.
        """
        check_inputs(inputs, self.inputs)
        with self._lock:
            if self._is_closed:
                raise RuntimeUnavailableError(
                    f"the {self.name} runtime is closed; open the artifact again"
                )
            if self._request is None:  # the last one was cancelled
                self._request = _open_compiled(self._artifact, self._options).create_infer_request()
            with native_errors(self.name):
                results = self._computed(dict(inputs))
                return {spec.name: results[spec.name] for spec in self.outputs}

    def _computed(self, inputs: dict[str, Any]) -> Any:
        """The request's results; in the main thread it waits in steps, between which Python hears
        Ctrl-C.

        A cancelled request leaves the compiled model with shapes of its own: the next call of
        OpenVINO 2026.4.1 for one image, after one of 300 was cancelled, gave 300 rows. So the model
        is compiled again before the next call.
        """
        request = self._request
        if not in_main_thread():
            return request.infer(inputs, share_inputs=True)
        try:
            request.start_async(inputs, share_inputs=True)
            while not request.wait_for(_STEP_MS):
                pass
        except KeyboardInterrupt:
            self._request = None
            with contextlib.suppress(RuntimeError):  # how a cancelled request says so
                request.cancel()
                request.wait()
            raise
        return request.results

    def close(self) -> None:
        """Frees the model once the call under way has ended; a second call does nothing."""
        with self._lock:
            self._request = None
            self._is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def has_bf16() -> bool:
    """Whether OpenVINO finds BF16 instructions (AVX-512 BF16, AMX, or Arm's) in this processor."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def check_compute(compute: Compute) -> None:
    """Returns when this processor computes in the dtype.

    Raises:
        RuntimeUnavailableError: If it does not.
    """
    if compute == "bfloat16" and not has_bf16():
        raise RuntimeUnavailableError(
            "this processor has no BF16 instructions; choose the runtime openvino"
        )


def _options(compute: Compute, threads: int | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _HINTS[compute],
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads is not None:
        if threads < 1:
            raise ConfigError(f"threads must be at least 1, not {threads}")
        options["INFERENCE_NUM_THREADS"] = threads
    return options


def _open_compiled(artifact: Artifact, options: dict[str, Any]) -> Any:
    if not artifact.has_external_data:
        return _compiled_from_model(artifact.model_bytes(), options)
    with artifact.verified_model_path() as path:
        return _compiled_from_model(str(path), options)


def _compiled_from_model(model: bytes | str, options: dict[str, Any]) -> Any:
    try:
        return _core().compile_model(_core().read_model(model), "CPU", options)
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise RuntimeUnavailableError(
                "the memory is not enough for OpenVINO to open the model"
            ) from error
        raise ArtifactError(f"OpenVINO does not take the model: {_reason(error)}") from error


@functools.cache
def _core() -> Any:
    """The one core of the process, which lives as long.

    A core's CPU plugin gives the thread a signal stack of its own and should put back the one
    before it. Of two cores closed in the order in which they were opened, the second puts back the
    first one's, which is unmapped by then, and the next signal, Ctrl-C for one, ends the process
    with SIGSEGV: https://github.com/openvinotoolkit/openvino/pull/11894
    """
    core = openvino.Core()
    # A mapped file could change, or shrink, after it was hashed: weights are packed as late as in
    # the first call.
    core.set_property({"ENABLE_MMAP": False})
    return core


def _spec_from_port(port: Any, promised: tuple[TensorSpec, ...]) -> TensorSpec:
    """A tensor may have several names, when a node before or behind it was folded away; the promised one counts."""
    names = port.get_names()
    name = next(
        (spec.name for spec in promised if spec.name in names), min(names, default="unnamed")
    )
    shape = tuple(
        None if side.is_dynamic else side.get_length() for side in port.get_partial_shape()
    )
    return TensorSpec(name=name, dtype=str(port.get_element_type().to_dtype()), shape=shape)


def _reason(error: Exception) -> str:
    """The line of an OpenVINO error that is not the place in its source code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next(
        (line for line in lines if not line.startswith("Exception from ")), "no reason given"
    )
