"""What a written report says beside the table: the subject, the machine and the parity, as pairs and rows of text."""

from __future__ import annotations

from motivnet.artifact.manifest import Comparison
from motivnet_bench.environment import Environment
from motivnet_bench.latency.result import LatencyResult
from motivnet_bench.report.columns import byte_count, duration
from motivnet_bench.report.page import Pairs

METHOD = (
    "Every candidate runs in a process of its own, stopped except in its turn. The turns alternate, every second round "
    "backwards; a speed-up is the baseline's median over the candidate's within a round, and its median over rounds is "
    "given with the range. All candidates get the same input."
)

PARITY_HEADINGS = (
    "backend",
    "computes in",
    "shows",
    "images",
    "logit cosine",
    "Δ logit",
    "Δ probability",
    "top-1",
    "embedding cosine",
    "verdict",
)


def subject_facts(result: LatencyResult) -> Pairs:
    """What was measured, and how."""
    subject, settings = result.subject, result.settings
    asked = (
        ""
        if subject.precision == subject.requested_precision
        else f" ({subject.requested_precision} was asked for)"
    )
    height, width = subject.image_size
    return (
        ("Artifact", subject.name),
        ("Weights", "random" if subject.weights == "random" else f"from {subject.weights}"),
        ("Precision", f"{subject.precision}{asked}, {subject.attention} attention"),
        (
            "Input",
            f"{height}x{width} {subject.input_dtype}, recipe {subject.recipe}, {settings.image}",
        ),
        ("Batch", str(settings.batch)),
        (
            "Rounds",
            f"{settings.rounds} of {duration(settings.duration)} a candidate, {settings.warmup} warm-up calls",
        ),
        ("Threads", str(settings.threads)),
    )


def environment_facts(result: LatencyResult) -> Pairs:
    """Where it was measured."""
    return machine_facts(
        result.environment, pytorch_device=_baseline_device(result), created=result.created
    )


def machine_facts(environment: Environment, *, pytorch_device: str, created: str) -> Pairs:
    """A machine, its software and the date of a run."""
    return (
        ("Processor", environment.processor),
        ("Cores", f"{environment.physical_cores} physical, available to the run"),
        ("Instructions", ", ".join(environment.instructions) or "none of note"),
        ("PyTorch ran on", pytorch_device),
        *((f"GPU {index}", gpu) for index, gpu in enumerate(environment.gpus)),
        *((("NVIDIA driver", environment.driver),) if environment.driver else ()),
        ("Memory", byte_count(environment.memory)),
        ("System", environment.system),
        ("Load at start", f"{environment.load_average:g}"),
        ("Governor", environment.governor or "not readable"),
        ("Python", environment.python),
        (
            "Versions",
            ", ".join(f"{name} {number}" for name, number in environment.versions.items()),
        ),
        ("Date", created),
    )


def parity_sentence(result: LatencyResult) -> str:
    """The verdict of the build in a line."""
    parity = result.parity
    state = "passed" if parity.passed else "did not pass"
    largest = max((block.stream for block in parity.activations), default=None)
    seen = (
        ""
        if largest is None
        else f" The largest activation on the residual stream was {largest:.3g}."
    )
    return f"The artifact {state} the gate of its build over {parity.images} images ({parity.image_source}).{seen}"


def parity_rows(result: LatencyResult) -> tuple[tuple[str, ...], ...]:
    """One row per comparison, under ``PARITY_HEADINGS``."""
    return tuple(_parity_row(comparison) for comparison in result.parity.comparisons)


def _parity_row(comparison: Comparison) -> tuple[str, ...]:
    return (
        comparison.backend,
        comparison.compute,
        comparison.evidence,
        str(comparison.images),
        f"{comparison.logit_cosine:.6f}",
        f"{comparison.logit_max_abs:.1e}",
        f"{comparison.probability_max_abs:.1e}",
        f"{comparison.top1_agreement:.1%}",
        f"{comparison.embedding_cosine:.6f}",
        "passed" if comparison.passed else "; ".join(comparison.failures),
    )


def _baseline_device(result: LatencyResult) -> str:
    devices = dict.fromkeys(
        row.device for row in result.candidates if row.role != "runtime" and row.device
    )
    return (
        ", ".join("the processor" if device == "cpu" else device for device in devices)
        or "no device"
    )
