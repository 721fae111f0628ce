"""OpenVINO as a ``Runtime``, on the CPU in float32 or bfloat16, linear layers of INT8 in int8."""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.dependencies import broken_dependency
from motivnet.errors import ConfigError, MissingDependencyError, RuntimeUnavailableError
from motivnet.processors import threads_in_quota
from motivnet.runtime import Arrays, TensorSpec, check_inputs
from motivnet_engines.runtimes.native_calls import in_main_thread, native_errors, verified_model
from motivnet_engines.runtimes.openvino_layers import CompiledLayers, layers_of
from motivnet_engines.runtimes.signature import check_graph, input_specs, output_specs

try:
    import openvino
except ModuleNotFoundError as error:
    raise MissingDependencyError("openvino", extra="cpu") from error
except Exception as error:  # it may raise anything
    raise broken_dependency("openvino", error) from error

Compute = Literal["float32", "bfloat16"]

_STEP_MS = 100
"""Longest delay of Ctrl-C."""

_HINTS: dict[Compute, str] = {"float32": "f32", "bfloat16": "bf16"}


class OpenVINORuntime:
    """An artifact opened by OpenVINO, computed in one dtype whatever the precision of its graph.

    The linear layers of an INT8 graph are the exception: ``compute`` is int8 if OpenVINO
    multiplies any of them in it.

    ``run`` may be called from several threads; the calls run one after another. With the latency
    hint OpenVINO has one stream, so a second request would not be faster and would hold a second
    set of activations.

    Args:
        artifact: The artifact to open; its files are verified first.
        compute: ``float32``, or ``bfloat16`` if the processor has instructions for it.
        threads: Threads per call; OpenVINO's choice (the physical cores) if None.

    Raises:
        ArtifactError: If the files are not those of the manifest, or OpenVINO rejects the graph.
        RuntimeUnavailableError: If BF16 is asked for and the processor has no instructions for it.
        ConfigError: If ``threads`` is below 1.
    """

    def __init__(
        self, artifact: Artifact, *, compute: Compute = "float32", threads: int | None = None
    ) -> None:
        check_compute(compute)
        self._artifact, self._options = artifact, _options(compute, threads)
        compiled = _compile(artifact, self._options)
        manifest = artifact.manifest
        self.name = "openvino-bf16" if compute == "bfloat16" else "openvino"
        self.compute: str = compute
        if manifest.precision == "int8":
            self.compute = layers_of(compiled).compute
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
        """Return every output by name.

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
                self._request = _compile(self._artifact, self._options).create_infer_request()
            with native_errors(self.name):
                results = self._compute(dict(inputs))
                return {spec.name: results[spec.name] for spec in self.outputs}

    def compiled_layers(self) -> CompiledLayers:
        """Return what OpenVINO made of the graph.

        Raises:
            RuntimeUnavailableError: After ``close``.
        """
        with self._lock:
            if self._request is None:
                raise RuntimeUnavailableError(f"the {self.name} runtime is closed")
            return layers_of(self._request.get_compiled_model())

    def _compute(self, inputs: dict[str, Any]) -> Any:
        """Return the request's results; the main thread waits in steps, so that Ctrl-C is handled.

        A cancelled request leaves its shapes in the compiled model: with OpenVINO 2026.4.1 the next
        call for one image, after one of 300 was cancelled, gave 300 rows. So the model is compiled
        again before the next call.
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
            with contextlib.suppress(RuntimeError):  # a cancelled request raises it
                request.cancel()
                request.wait()
            raise
        return request.results

    def close(self) -> None:
        """Free the model when the call in progress has ended; a second call does nothing."""
        with self._lock:
            self._request = None
            self._is_closed = True

    def __enter__(self) -> OpenVINORuntime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def has_bf16() -> bool:
    """Return whether this processor has BF16 instructions (AVX-512 BF16, AMX, or Arm's)."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def check_compute(compute: Compute) -> None:
    """Check that this processor computes in the dtype.

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
    if threads is not None and threads < 1:
        raise ConfigError(f"threads must be at least 1, not {threads}")
    if chosen := threads or threads_in_quota():
        options["INFERENCE_NUM_THREADS"] = chosen
    return options


def _compile(artifact: Artifact, options: dict[str, Any]) -> Any:
    with verified_model(artifact) as model, native_errors("OpenVINO", opening=True):
        return _core().compile_model(_core().read_model(model), "CPU", options)


@functools.cache
def _core() -> Any:
    """Return the one core of the process, which is never closed.

    A core's CPU plugin replaces the thread's signal stack and should restore the previous one. If
    two cores are closed in the order in which they were opened, the second restores the stack of
    the first, which is unmapped by then. The next signal, for example Ctrl-C, then ends the process
    with SIGSEGV: https://github.com/openvinotoolkit/openvino/pull/11894
    """
    core = openvino.Core()
    # A mapped file could change after it was hashed: weights are packed as late as the first call.
    core.set_property({"ENABLE_MMAP": False})
    return core


def _spec_from_port(port: Any, promised: tuple[TensorSpec, ...]) -> TensorSpec:
    """Return a port's specification, under its promised name if it has several.

    A tensor gets several names when a node next to it is folded away.
    """
    names = port.get_names()
    promised_names = [spec.name for spec in promised if spec.name in names]
    name = promised_names[0] if promised_names else min(names, default="unnamed")
    sides = port.get_partial_shape()
    shape = tuple(None if side.is_dynamic else side.get_length() for side in sides)
    return TensorSpec(name=name, dtype=str(port.get_element_type().to_dtype()), shape=shape)
