"""ONNX Runtime as a ``Runtime``, on the CPU or on an NVIDIA GPU."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.artifact.manifest import Manifest
from motivnet.dependencies import broken_dependency
from motivnet.errors import ConfigError, MissingDependencyError, RuntimeUnavailableError
from motivnet.parity import COMPUTE_DTYPES, Precision
from motivnet.processors import threads_in_quota
from motivnet.runtime import Arrays, TensorSpec, check_inputs
from motivnet_engines.runtimes.cuda_provider import cuda_provider_options
from motivnet_engines.runtimes.native_calls import (
    in_main_thread,
    interruptible,
    native_errors,
    verified_model,
)
from motivnet_engines.runtimes.signature import check_graph, input_specs, output_specs
from motivnet_engines.system.nvidia import cuda_device_count

try:
    import onnxruntime
except ModuleNotFoundError as error:
    raise MissingDependencyError("onnxruntime", extra="cpu") from error
except Exception as error:  # it may raise anything
    raise broken_dependency("onnxruntime", error) from error

Device = Literal["cpu", "cuda"]

_PROVIDERS: dict[Device, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
_MATRIX_OPERATORS = frozenset(
    {"Attention", "Conv", "FusedConv", "FusedMatMul", "Gemm", "MatMul", "MultiHeadAttention"}
)
_ASSIGNMENT = "get_provider_graph_assignment_info"  # not in every version


class OnnxRuntime:
    """An artifact opened by ONNX Runtime.

    ``run`` may be called from several threads at once. On the CPU, half-precision nodes are
    computed in float32.

    Args:
        artifact: The artifact to open; its files are verified first.
        threads: Threads per call on the CPU; ONNX Runtime's choice if None.

    Raises:
        ArtifactError: If the files are not those of the manifest, or ONNX Runtime rejects the
            graph.
        RuntimeUnavailableError: If the device is not available.
        ConfigError: If ``threads`` is below 1.
    """

    def __init__(
        self, artifact: Artifact, *, device: Device = "cpu", threads: int | None = None
    ) -> None:
        manifest = artifact.manifest
        check_device(device, precision=manifest.precision)
        providers = [(_PROVIDERS[device], _provider_options(manifest, device))]
        if device == "cuda":
            _load_cuda_libraries()
        options = _session_options(device, threads)
        with verified_model(artifact) as model, native_errors("ONNX Runtime", opening=True):
            session = onnxruntime.InferenceSession(model, options, providers=providers)
        _check_provider(session, device)
        check_graph(
            manifest,
            inputs=_specs_from_nodes(session.get_inputs()),
            outputs=_specs_from_nodes(session.get_outputs()),
        )
        self.name = "onnxruntime-cuda" if device == "cuda" else "onnxruntime"
        self.compute = COMPUTE_DTYPES[manifest.precision] if device == "cuda" else "float32"
        self.inputs = input_specs(manifest)
        self.outputs = output_specs(manifest)
        self._output_names = [spec.name for spec in self.outputs]
        self._session: Any = session
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=self.name)

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return every output by name.

        Raises:
            InputError: If the arrays do not fit ``inputs``.
            RuntimeUnavailableError: After ``close``, or if the memory is not enough.
            ArtifactError: If ONNX Runtime cannot compute the graph.
        """
        session = self._session  # a local reference: another thread may close meanwhile
        if session is None:
            raise RuntimeUnavailableError(
                f"the {self.name} runtime is closed; open the artifact again"
            )
        check_inputs(inputs, self.inputs)
        with native_errors(self.name):
            outputs = self._compute(session, dict(inputs))
        return dict(zip(self._output_names, outputs, strict=True))

    def _compute(self, session: Any, inputs: dict[str, Any]) -> list[NDArray[np.float32]]:
        options = onnxruntime.RunOptions()

        def call() -> list[NDArray[np.float32]]:
            outputs: list[NDArray[np.float32]] = session.run(self._output_names, inputs, options)
            return outputs

        def stop() -> None:
            options.terminate = True

        return interruptible(call, thread=self._thread, stop=stop) if in_main_thread() else call()

    def close(self) -> None:
        """Free the session when the calls in progress have ended; a second call does nothing."""
        self._session = None
        self._thread.shutdown(wait=False)

    def __enter__(self) -> OnnxRuntime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_device(device: Device, *, precision: Precision) -> None:
    """Check that a graph of this precision can run on the device.

    Raises:
        RuntimeUnavailableError: Naming what is missing.
    """
    if device == "cpu" and precision == "bf16":
        raise RuntimeUnavailableError(
            "ONNX Runtime has no BF16 operators for the CPU; choose the runtime openvino"
        )
    if device == "cuda" and cuda_device_count() == 0:
        raise RuntimeUnavailableError(
            "no CUDA device: the NVIDIA driver is missing or shows no GPU to this process"
        )
    if device == "cuda" and _PROVIDERS["cuda"] not in available_providers():
        raise RuntimeUnavailableError(
            f"the installed onnxruntime {onnxruntime.__version__} has no CUDA provider; "
            "replace it: pip uninstall -y onnxruntime && pip install 'motivnet[gpu]'"
        )


def available_providers() -> tuple[str, ...]:
    """Return the execution providers of the installed ONNX Runtime, in its order of preference."""
    return tuple(onnxruntime.get_available_providers())


def _provider_options(manifest: Manifest, device: Device) -> dict[str, str]:
    return cuda_provider_options(manifest) if device == "cuda" else {}


@functools.cache
def _load_cuda_libraries() -> None:
    """Load CUDA and cuDNN from their Python packages, which ONNX Runtime does not look into.

    https://github.com/microsoft/onnxruntime/pull/23744
    """
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()


def _session_options(device: Device, threads: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # only fatal messages: other problems are raised too
    # Threads spin while a call runs and sleep after it; by default they continue to spin, which
    # slows other programs down.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if device == "cuda" and hasattr(onnxruntime.InferenceSession, _ASSIGNMENT):
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads must be at least 1, not {threads}")
    if chosen := threads or threads_in_quota():
        options.intra_op_num_threads = chosen
    return options


def _check_provider(session: Any, device: Device) -> None:
    """Refuse a session that silently fell back to the CPU, completely or for a matrix product.

    ``session.disable_cpu_ep_fallback`` would refuse every graph with a free batch, because ONNX
    Runtime places the few integer nodes that compute shapes on the CPU on purpose:
    https://github.com/microsoft/onnxruntime/issues/17930
    """
    session.disable_fallback()
    have = session.get_providers()[0]
    if have != _PROVIDERS[device]:
        raise RuntimeUnavailableError(
            f"{_PROVIDERS[device]} was asked for and ONNX Runtime gave {have}; "
            "its log names the missing library"
        )
    if device == "cuda" and hasattr(session, _ASSIGNMENT):
        check_assignment(session.get_provider_graph_assignment_info(), _PROVIDERS[device])


def check_assignment(subgraphs: Any, provider: str) -> None:
    """Check that no matrix product was assigned to another provider.

    Args:
        subgraphs: What ``InferenceSession.get_provider_graph_assignment_info`` returns.

    Raises:
        RuntimeUnavailableError: Naming the operators that were.
    """
    strays = {
        node.op_type
        for subgraph in subgraphs
        if subgraph.ep_name != provider
        for node in subgraph.get_nodes()
        if node.op_type in _MATRIX_OPERATORS
    }
    if strays:
        raise RuntimeUnavailableError(
            f"{provider} does not compute {', '.join(sorted(strays))} of this graph and would "
            "leave it to the CPU; build with --attention decomposed, or choose another runtime"
        )


def _specs_from_nodes(nodes: Any) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            name=node.name,
            dtype=_DTYPES.get(node.type, node.type),
            shape=tuple(side if isinstance(side, int) else None for side in node.shape),
        )
        for node in nodes
    )
