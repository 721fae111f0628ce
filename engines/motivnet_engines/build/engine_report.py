"""What an engine is made of: the dtypes of its matrix products and its fused attentions.

There are three sources, from the strongest to the weakest: the inspector of the built engine, the
compiler's own list of the layers that it made, and the parsed network before compilation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from motivnet.artifact.engine_entry import EngineEvidence, EngineReport
from motivnet.errors import EngineError
from motivnet.parity import COMPUTE_DTYPES, AttentionForm, Precision
from motivnet_engines.build.layer_evidence import (
    NetworkNodes,
    check_products,
    count_attentions,
    find_doubts,
)
from motivnet_engines.build.layers import (
    LIST_HEADING,
    UNKNOWN,
    CompiledLayer,
    layers_from_inspector,
    layers_from_log,
)
from motivnet_engines.runtimes.tensorrt.api import DTYPES, Api
from motivnet_engines.runtimes.tensorrt.engine import new_runtime
from motivnet_engines.runtimes.tensorrt.log import logger_of, tail_of

_QUANTISED: tuple[Precision, ...] = ("int8", "fp8")
"""In these only the layers between Q/DQ pairs are quantised; the others stay in floating point."""

_ATTENTION_LAYERS = ("ATTENTION_INPUT", "SOFTMAX")
"""The first half of each ``Attention`` operator, and the middle of each decomposed attention."""

_ACTIVATION_MEMORY = re.compile(r"Total Activation Memory: (\d+) bytes")


def report_from_network(network: Any) -> EngineReport:
    """Return what a parsed ``INetworkDefinition`` contains; constants and shapes do not count."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    # A typed network dequantises in front of each product, and the compiler moves the product in
    # front of that: such a product counts as quantised.
    quantised = {
        layer.get_output(0).name: DTYPES.get(layer.get_input(0).dtype.name, UNKNOWN)
        for layer in layers
        if layer.type.name == "DEQUANTIZE"
    }
    dtypes: Counter[str] = Counter()
    attentions = 0
    for layer in layers:
        kind = layer.type.name
        attentions += kind in _ATTENTION_LAYERS
        if kind in ("MATRIX_MULTIPLY", "CONVOLUTION", "ATTENTION_INPUT"):
            tensor = layer.get_input(0)
            dtype = tensor.dtype.name
            dtypes[quantised.get(tensor.name) or DTYPES.get(dtype, dtype.lower())] += 1
    return EngineReport(
        evidence="network",
        layers=len(layers),
        matrix_layers=dict(sorted(dtypes.items())),
        attention_layers=attentions,
        attention_fused=None,
        activation_bytes=None,
    )


def report_from_engine(
    api: Api,
    serialized: Any,
    network: EngineReport,
    nodes: NetworkNodes,
    *,
    precision: Precision,
    version_compatible: bool,
) -> tuple[EngineReport, tuple[str, ...]]:
    """Return what a new engine contains, from the strongest source here, and what is not known.

    With ``tensorrt`` that is the engine itself, because it builds on the engine's own GPU.
    TensorRT-RTX builds ahead of time, so it is the compiler's list of layers, or the network if the
    compiler gave no list.

    Args:
        serialized: The engine in TensorRT's memory.
        network: From ``report_from_network``.
        nodes: From ``nodes_from_network``.
        version_compatible: Whether the engine may need another runtime than this one, so that
            loading it may fail.

    Raises:
        EngineError: If TensorRT cannot load what it has just built, or its kernels contradict the
            network.
    """
    lines = logger_of(api).lines
    activation_bytes = activation_bytes_from_log(lines)
    layers, doubts = None, list[str]()
    if api.backend == "tensorrt" and (
        text := _inspect(api, serialized, may_fail=version_compatible)
    ):
        try:
            layers = layers_from_inspector(text)
        except EngineError as error:
            doubts.append(f"the engine's layers are not known: {error}")
    evidence: EngineEvidence = "compiler" if layers is None else "inspector"
    layers = layers or layers_from_log(lines)
    if not layers:
        return msgspec.structs.replace(network, activation_bytes=activation_bytes), tuple(doubts)
    check_products(layers, nodes, precision=precision)
    report = report_from_layers(
        layers,
        network=network,
        attentions=nodes.attentions,
        evidence=evidence,
        activation_bytes=activation_bytes,
    )
    return report, (*doubts, *find_doubts(layers, nodes))


def report_from_layers(
    layers: Sequence[CompiledLayer],
    *,
    network: EngineReport,
    attentions: frozenset[str] = frozenset(),
    evidence: EngineEvidence,
    activation_bytes: int | None,
) -> EngineReport:
    """Return what a compiled engine contains; the network tells how many attentions it should have.

    Of ``Attention`` operators each must be accounted for, else their number is unknown. Of
    decomposed attentions those are fused that are one kernel, which names its ONNX nodes; two
    kernels of the same nodes are one attention.
    """
    dtypes = Counter(layer.compute_dtype for layer in layers if layer.role != "other")
    if attentions:
        count = count_attentions(layers, attentions)
        fused = None if count.unknown else count.fused
    else:
        kernels = [layer for layer in layers if layer.role == "fused-attention"]
        groups = len({layer.origins or (layer.name,) for layer in kernels})
        fused = min(groups, network.attention_layers)
    return EngineReport(
        evidence=evidence,
        layers=len(layers),
        matrix_layers=dict(sorted(dtypes.items())),
        attention_layers=network.attention_layers,
        attention_fused=fused,
        activation_bytes=activation_bytes,
    )


def is_about_the_engine(message: str) -> bool:
    """Tell whether a message of the builder's log says what the engine is made of."""
    return message.startswith(LIST_HEADING) or _ACTIVATION_MEMORY.search(message) is not None


def activation_bytes_from_log(lines: Iterable[tuple[str, str]]) -> int | None:
    """Return the bytes that the builder reserves for activations, None if it did not log them."""
    sizes = [int(match[1]) for _, text in lines if (match := _ACTIVATION_MEMORY.search(text))]
    return sizes[-1] if sizes else None


def check_report(
    report: EngineReport,
    *,
    precision: Precision,
    attention: AttentionForm,
    float32_layers: int = 0,
    unfused_bytes: int | None = None,
) -> None:
    """Check that an engine computes in its precision and, if asked, fuses most of its attentions.

    A decomposed attention may be fused or not: TensorRT decides, and the report records it. Layers
    whose dtype is unknown count neither for nor against.

    Args:
        float32_layers: Matrix products that the graph itself has in FP32.
        unfused_bytes: Activations from which on attention cannot be fused, None if they do not
            tell; used only where the report does not show the kernels.

    Raises:
        EngineError: With the counts.
    """
    _check_dtypes(report, precision, float32_layers)
    if attention != "fused":
        return
    if not report.attention_layers:
        raise EngineError("the graph should hold fused attentions and the parsed network has none")
    if reason := _unfused(report, unfused_bytes):
        raise EngineError(
            f"attention is not fused: {reason}; build the artifact with --attention decomposed"
        )


def _check_dtypes(report: EngineReport, precision: Precision, float32_layers: int) -> None:
    """Of the parsed network every product counts; of kernels, whose dtype is read, the majority."""
    expected = COMPUTE_DTYPES[precision]
    counts = Counter(report.matrix_layers)
    if not counts:
        raise _dtype_error(report, precision)
    counts["float32"] -= 0 if expected == "float32" else min(counts["float32"], float32_layers)
    asked = counts[expected]
    others = counts.total() - asked - counts[UNKNOWN]
    if precision in _QUANTISED:
        wrong = not asked and others > 0
    elif report.evidence == "network":
        wrong = others > 0
    else:
        wrong = asked < others
    if wrong:
        raise _dtype_error(report, precision)


def _dtype_error(report: EngineReport, precision: Precision) -> EngineError:
    products = ", ".join(f"{count} in {dtype}" for dtype, count in report.matrix_layers.items())
    return EngineError(
        f"the engine is not {precision}: its matrix products are {products or 'none'} "
        f"({report.evidence}); use another TensorRT version or another --precision"
    )


def _unfused(report: EngineReport, unfused_bytes: int | None) -> str | None:
    """Return why most attentions cannot have been fused, None if nothing says so."""
    fused, reserved = report.attention_fused, report.activation_bytes
    if fused is not None:
        found = f"{fused} of {report.attention_layers} became one kernel ({report.evidence})"
        return found if 2 * fused < report.attention_layers else None
    if (
        report.evidence != "network"
        or reserved is None
        or unfused_bytes is None
        or reserved < unfused_bytes
    ):
        return None
    return (
        f"the engine reserves {reserved:,} bytes for activations, and the scores alone take "
        f"{unfused_bytes:,}"
    )


def _inspect(api: Api, serialized: Any, *, may_fail: bool) -> str | None:
    """Return the inspector's JSON, None if the engine cannot be loaded although it is valid."""
    engine = new_runtime(api).deserialize_cuda_engine(serialized)
    if engine is None and not may_fail:
        raise EngineError(
            "TensorRT cannot load the engine that it built", log=tail_of(logger_of(api).lines)
        )
    if engine is None:
        return None
    inspector = engine.create_engine_inspector()
    # Without a context that knows the shapes, the layers of a free batch are reported without their
    # tensors. The inputs get the shape that the engine is fastest at.
    # Nothing is run, so it needs no memory for activations, which the builder still holds.
    context = engine.create_execution_context(
        api.trt.ExecutionContextAllocationStrategy.USER_MANAGED
    )
    if context is not None:
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            if engine.get_tensor_mode(name) == api.trt.TensorIOMode.INPUT:
                context.set_input_shape(name, engine.get_tensor_profile_shape(name, 0)[1])
        inspector.execution_context = context
    return str(inspector.get_engine_information(api.trt.LayerInformationFormat.JSON))
