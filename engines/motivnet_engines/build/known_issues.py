"""Combinations of TensorRT, GPU and precision that others have seen fail, each with its report, and
what none can do.

A warning is no verdict: most reports are about other vision transformers. ``motivnet verify`` on
the device decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from motivnet.artifact.manifest import AttentionForm, EngineBackend, Precision
from motivnet.errors import EngineError
from motivnet_engines.runtimes.tensorrt.versions import installed_version, numbers_of

_ISSUES = "https://github.com/NVIDIA/TensorRT/issues/"
_HALF: tuple[Precision, ...] = ("fp16", "bf16")

FUSED_SINCE: dict[EngineBackend, tuple[int, ...]] = {"tensorrt": (10, 14), "tensorrt-rtx": (1, 3)}
"""The first version whose parser takes ONNX's Attention operator; an older one has no such layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFault:
    """One report; a field that is None, or a range without an end, covers everything.

    ``last`` names a whole series: ``(10, 3)`` holds 10.3.0 and 10.3.0.30. ``compute_capabilities``
    are such as ``120``.
    """

    backend: EngineBackend | None
    first: tuple[int, ...]
    last: tuple[int, ...] | None
    compute_capabilities: tuple[str, ...] | None = None
    precisions: tuple[Precision, ...] | None = None
    attention: AttentionForm | None = None
    fault: str
    seen_with: str
    issue: str
    advice: str

    def covers(
        self,
        *,
        backend: EngineBackend,
        version: tuple[int, ...],
        compute_capability: str | None,
        precision: Precision,
        attention: AttentionForm,
    ) -> bool:
        """Whether a build of this kind is one that was reported; a GPU that is not known is not taken for one."""
        return (
            self.backend in (None, backend)
            and self._covers_version(version)
            and (
                self.compute_capabilities is None or compute_capability in self.compute_capabilities
            )
            and (self.precisions is None or precision in self.precisions)
            and self.attention in (None, attention)
        )

    def _covers_version(self, version: tuple[int, ...]) -> bool:
        return version >= self.first and (
            self.last is None or version[: len(self.last)] <= self.last
        )


KNOWN_FAULTS: tuple[KnownFault, ...] = (
    KnownFault(
        backend="tensorrt",
        first=(10, 3),
        last=(10, 3),
        precisions=("fp16",),
        fault="FP16 results are wrong",
        seen_with="DINOv3 ViT-B and ViT-L",
        issue=f"{_ISSUES}4723",
        advice="prefer --precision bf16 or fp32 with --attention decomposed",
    ),
    KnownFault(
        backend="tensorrt",
        first=(10, 4),
        last=(10, 4),
        fault="results are wrong even in FP32, and NaN in FP16",
        seen_with="DINOv3 ViT-B on RTX A6000",
        issue=f"{_ISSUES}4742",
        advice="use another version of TensorRT",
    ),
    KnownFault(
        backend="tensorrt",
        first=(10, 7),
        last=(10, 7),
        attention="decomposed",
        fault="attention written as products is wrong even in FP32",
        seen_with="scaled_dot_product_attention of PyTorch on L4",
        issue=f"{_ISSUES}4333",
        advice="use another version of TensorRT",
    ),
    KnownFault(
        backend="tensorrt",
        first=(10, 8),
        last=(10, 8),
        precisions=_HALF,
        attention="decomposed",
        fault="attention written as products is not fused, so the engine is slow",
        seen_with="DINOv2 ViT-L on RTX 3080",
        issue=f"{_ISSUES}4537",
        advice="use TensorRT 10.14 or later with --attention fused",
    ),
    KnownFault(
        backend=None,
        first=(1,),
        last=None,
        compute_capabilities=("120",),
        precisions=_HALF,
        fault="fused attention is silently wrong on SM 120, in whichever form the graph has it",
        seen_with="SAM 3 with TensorRT 10.16.1; FP32 was exact",
        issue=f"{_ISSUES}4837",
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
    """One line for each known fault that a build of this kind may have.

    Args:
        backend: The package.
        version: Its version, such as ``10.3.0``.
        compute_capability: The GPU's, as ``12.0`` or ``120``; None where it is not known.
        precision: What the graph computes in.
        attention: How the graph writes attention.
    """
    capability = None if compute_capability is None else compute_capability.replace(".", "")
    faults = (
        fault
        for fault in KNOWN_FAULTS
        if fault.covers(
            backend=backend,
            version=numbers_of(version),
            compute_capability=capability,
            precision=precision,
            attention=attention,
        )
    )
    return tuple(
        f"{backend} {version}: {fault.fault} (seen with {fault.seen_with}, {fault.issue}); {fault.advice}"
        for fault in faults
    )


def fused_supported(backend: EngineBackend, version: str) -> bool:
    """Whether this version can build ONNX's Attention operator."""
    return numbers_of(version) >= FUSED_SINCE[backend]


def check_supported(
    backend: EngineBackend, *, attention: AttentionForm, version: str | None = None
) -> None:
    """Returns when the version, or the one installed, can build the graph's form of attention.

    Raises:
        EngineError: If it is too old, with the two ways out.
    """
    version = version or installed_version(backend)
    if attention == "fused" and version is not None and not fused_supported(backend, version):
        since = ".".join(map(str, FUSED_SINCE[backend]))
        raise EngineError(
            f"{backend} {version} cannot build the Attention operator, which needs {since} or later; "
            "build the ONNX artifact with --attention decomposed, or update the package"
        )
