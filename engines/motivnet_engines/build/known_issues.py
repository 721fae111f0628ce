"""Combinations of TensorRT version, GPU and precision that others reported as failing.

A warning is not a result: most reports are about other vision transformers. ``motivnet verify`` on
the device decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from motivnet.errors import EngineError
from motivnet_engines.runtimes.tensorrt.api import installed_version, numbers_of

if TYPE_CHECKING:
    from motivnet.artifact.engine_entry import EngineBackend
    from motivnet.parity import AttentionForm, Precision

_ISSUES = "https://github.com/NVIDIA/TensorRT/issues/"
_HALF: tuple[Precision, ...] = ("fp16", "bf16")

FUSED_SINCE: dict[EngineBackend, tuple[int, ...]] = {"tensorrt": (10, 15), "tensorrt-rtx": (1, 3)}
"""The first version whose parser accepts ONNX's Attention operator as the exports have it.

TensorRT 10.14 has the operator, but gives the tokens of one back split into heads, which the next
product does not take: https://github.com/onnx/onnx-tensorrt, docs/operators.md of its 10.14.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownIssue:
    """One report; a field that is None matches everything.

    ``series`` is the beginning of the version: ``(10, 3)`` holds 10.3.0 and 10.3.0.30, and ``()``
    every version. ``compute_capabilities`` are such as ``120``.
    """

    backend: EngineBackend | None
    series: tuple[int, ...]
    compute_capabilities: tuple[str, ...] | None = None
    precisions: tuple[Precision, ...] | None = None
    attention: AttentionForm | None = None
    problem: str
    seen_with: str
    url: str
    advice: str

    def covers(self, version: tuple[int, ...], compute_capability: str | None) -> bool:
        """Tell whether version and GPU are reported; an unknown GPU matches no named one."""
        capabilities = self.compute_capabilities
        return version[: len(self.series)] == self.series and (
            capabilities is None or compute_capability in capabilities
        )


KNOWN_ISSUES: tuple[KnownIssue, ...] = (
    KnownIssue(
        backend="tensorrt",
        series=(10, 3),
        precisions=("fp16",),
        problem="FP16 results are wrong",
        seen_with="DINOv3 ViT-B and ViT-L",
        url=f"{_ISSUES}4723",
        advice="prefer --precision bf16 or fp32 with --attention decomposed",
    ),
    KnownIssue(
        backend="tensorrt",
        series=(10, 4),
        problem="results are wrong even in FP32, and NaN in FP16",
        seen_with="DINOv3 ViT-B on RTX A6000",
        url=f"{_ISSUES}4742",
        advice="use another version of TensorRT",
    ),
    KnownIssue(
        backend="tensorrt",
        series=(10, 7),
        attention="decomposed",
        problem="decomposed attention is wrong even in FP32",
        seen_with="scaled_dot_product_attention of PyTorch on L4",
        url=f"{_ISSUES}4333",
        advice="use another version of TensorRT",
    ),
    KnownIssue(
        backend="tensorrt",
        series=(10, 8),
        precisions=_HALF,
        attention="decomposed",
        problem="decomposed attention is not fused, so the engine is slow",
        seen_with="DINOv2 ViT-L on RTX 3080",
        url=f"{_ISSUES}4537",
        advice="use TensorRT 10.15 or later with --attention fused",
    ),
    KnownIssue(
        backend=None,
        series=(),
        compute_capabilities=("120",),
        precisions=_HALF,
        problem="fused attention is silently wrong on SM 120, in either form of the graph",
        seen_with="SAM 3 with TensorRT 10.16.1; FP32 was exact",
        url=f"{_ISSUES}4837",
        advice="if motivnet verify fails, use --precision fp32",
    ),
)


def warnings_for(
    *,
    backend: EngineBackend,
    version: str,
    compute_capability: str | None,
    precision: Precision,
    attention: AttentionForm,
) -> tuple[str, ...]:
    """Return one line for each known issue that a build of this kind may have.

    Args:
        version: Such as ``10.3.0``.
        compute_capability: The GPU's, as ``12.0`` or ``120``; None if unknown.
    """
    capability = None if compute_capability is None else compute_capability.replace(".", "")
    return tuple(
        f"{backend} {version}: {issue.problem} (seen with {issue.seen_with}, {issue.url}); "
        f"{issue.advice}"
        for issue in KNOWN_ISSUES
        if issue.backend in (None, backend)
        and issue.covers(numbers_of(version), capability)
        and (issue.precisions is None or precision in issue.precisions)
        and issue.attention in (None, attention)
    )


def fused_supported(backend: EngineBackend, version: str) -> bool:
    """Tell whether this version can build ONNX's Attention operator."""
    return numbers_of(version) >= FUSED_SINCE[backend]


def check_supported(
    backend: EngineBackend, *, attention: AttentionForm, version: str | None = None
) -> None:
    """Check that the version, or the one installed, can build the graph's form of attention.

    Raises:
        EngineError: If it is too old, with the two remedies.
    """
    version = version or installed_version(backend)
    if attention == "fused" and version is not None and not fused_supported(backend, version):
        since = ".".join(map(str, FUSED_SINCE[backend]))
        raise EngineError(
            f"{backend} {version} cannot build the Attention operator, which needs {since} or "
            "later; build the ONNX artifact with --attention decomposed, or update the package"
        )
