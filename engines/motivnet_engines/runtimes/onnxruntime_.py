"""ONNX Runtime as a ``Runtime``, on the CPU or on an NVIDIA GPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.artifact.manifest import COMPUTE_DTYPES, Manifest, Precision
from motivnet.errors import (
    ArtifactError,
    ConfigError,
    MissingDependencyError,
    RuntimeUnavailableError,
)
from motivnet.runtime import Arrays, TensorSpec, check_inputs
from motivnet_engines.runtimes.native_calls import (
    in_main_thread,
    interruptible,
    is_out_of_memory,
    native_errors,
)
from motivnet_engines.runtimes.signature import check_graph, input_specs, output_specs
from motivnet_engines.system.nvidia import cuda_device_count

try:
    import onnxruntime
except ModuleNotFoundError as error:
    raise MissingDependencyError("onnxruntime", extra="cpu") from error
except ImportError as error:
    raise RuntimeUnavailableError(
        f"onnxruntime is installed but cannot be loaded: {error}"
    ) from error

Device = Literal["cpu", "cuda"]

_PROVIDERS: dict[Device, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
_MATRIX_OPERATORS = frozenset(
    {"Attention", "Conv", "FusedConv", "FusedMatMul", "Gemm", "MatMul", "MultiHeadAttention"}
)
_SILENT = 4  # only what is fatal: everything else that goes wrong comes as an exception too
_RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"

_WIDEST_HEAD = 128
_PLAIN_KERNEL = "16"
"""``sdpa_kernel`` of the CUDA provider for attention as matrix products, without flash or
memory-efficient kernels.

Expected: the ``Attention`` of the published decoder, 7 queries of 8 heads of 144 on 3072 keys, in
FP16. Seen of 1.31.1 on an H100, without an error: results 120 % off in norm, logits 0.15 off; right
with this kernel. With the kernel that it chooses itself, single nodes with heads of 12 to 128 and
the same lengths were right.
"""


class OnnxRuntime:
    """An artifact opened by ONNX Runtime.

    ``run`` may be called from several threads at once. On the CPU, half-precision nodes are
    computed in float32.

    Args:
        artifact: What to open; its files are verified first.
        device: ``cpu`` or ``cuda``.
        threads: Threads of one call on the CPU; ONNX Runtime's choice if None.

    Raises:
        ArtifactError: If the files are not what the manifest says, or not a graph that ONNX Runtime
        takes.
        RuntimeUnavailableError: If the device cannot be had.
        ConfigError: If ``threads`` is below 1.
    """

    def __init__(
        self, artifact: Artifact, *, device: Device = "cpu", threads: int | None = None
    ) -> None:
        manifest = artifact.manifest
        check_device(device, precision=manifest.precision)
        providers = [(_PROVIDERS[device], provider_options(manifest, device))]
        session = _open_session(artifact, providers, _session_options(device, threads))
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
        """Every output by name.

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
            outputs = self._computed(session, dict(inputs))
        return dict(zip(self._output_names, outputs, strict=True))

    def _computed(self, session: Any, inputs: dict[str, Any]) -> list[NDArray[np.float32]]:
        options = onnxruntime.RunOptions()

        def call() -> list[NDArray[np.float32]]:
            outputs: list[NDArray[np.float32]] = session.run(self._output_names, inputs, options)
            return outputs

        def stop() -> None:
            options.terminate = True

        return interruptible(call, thread=self._thread, stop=stop) if in_main_thread() else call()

    def close(self) -> None:
        """Frees the session once the calls under way have ended; a second call does nothing."""
        self._session = None
        self._thread.shutdown(wait=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def check_device(device: Device, *, precision: Precision) -> None:
    """Returns when a graph of this precision can run on the device.

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
            f"the installed onnxruntime {onnxruntime.__version__} has no CUDA provider; replace it: "
            "pip uninstall -y onnxruntime && pip install 'motivnet[gpu]'"
        )


def available_providers() -> tuple[str, ...]:
    """The execution providers that the installed ONNX Runtime was built with, first choice first."""
    return tuple(onnxruntime.get_available_providers())


def _session_options(device: Device, threads: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SILENT
    # Threads spin while a call runs and sleep after it; by default they go on spinning, at others'
    # expense.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if device == "cuda" and hasattr(
        onnxruntime.InferenceSession, "get_provider_graph_assignment_info"
    ):
        options.add_session_config_entry(_RECORD_ASSIGNMENT, "1")
    if threads is not None:
        if threads < 1:
            raise ConfigError(f"threads must be at least 1, not {threads}")
        options.intra_op_num_threads = threads
    return options


def provider_options(manifest: Manifest, device: Device) -> dict[str, str]:
    """What the execution provider is told about an artifact's graph."""
    if device == "cpu":
        return {}
    options = {"use_tf32": "0"}  # an FP32 graph is computed in float32, as the parity report says
    config = manifest.source.config
    head = max(part.embed_dim // part.num_heads for part in (config.encoder, config.decoder))
    if manifest.attention == "fused" and head > _WIDEST_HEAD:
        options["sdpa_kernel"] = _PLAIN_KERNEL
    return options


def _open_session(
    artifact: Artifact, providers: list[tuple[str, dict[str, str]]], options: Any
) -> Any:
    if not artifact.has_external_data:
        return _session_from_model(artifact.model_bytes(), providers, options)
    with artifact.verified_model_path() as path:
        return _session_from_model(str(path), providers, options)


def _session_from_model(
    model: bytes | str, providers: list[tuple[str, dict[str, str]]], options: Any
) -> Any:
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions have no base of their own
        if is_out_of_memory(error):
            raise RuntimeUnavailableError(
                "the memory is not enough for ONNX Runtime to open the model"
            ) from error
        raise ArtifactError(
            f"ONNX Runtime does not take the model: {_first_line(error)}"
        ) from error


def _check_provider(session: Any, device: Device) -> None:
    """Refuses a session that silently fell back to the CPU, wholly or for a matrix product.

    ``session.disable_cpu_ep_fallback`` would refuse every graph with a free batch, because ONNX
    Runtime places the few integer nodes that compute shapes on the CPU on purpose:
    https://github.com/microsoft/onnxruntime/issues/17930
    """
    session.disable_fallback()
    have = session.get_providers()[0]
    if have != _PROVIDERS[device]:
        raise RuntimeUnavailableError(
            f"{_PROVIDERS[device]} was asked for and ONNX Runtime gave {have}; its log names the missing library"
        )
    if device == "cuda" and hasattr(session, "get_provider_graph_assignment_info"):
        check_assignment(session.get_provider_graph_assignment_info(), _PROVIDERS[device])


def check_assignment(subgraphs: Any, provider: str) -> None:
    """Returns when no matrix product was given to another provider.

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
            f"{provider} does not compute {', '.join(sorted(strays))} of this graph and would leave it to the CPU; "
            "build with --attention decomposed, or choose another runtime"
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


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
