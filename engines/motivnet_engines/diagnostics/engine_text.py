"""An engine in one sentence: what it is for, what it is made of, and whether it has run."""

from __future__ import annotations

from pathlib import Path

from motivnet.artifact.manifest import EngineEntry, EngineProof

_EVIDENCE = {
    "inspector": "the engine's own layers",
    "compiler": "the compiler's layers",
    "network": "the parsed network",
}


def engine_text(engine: EngineEntry, folder: Path) -> str:
    """One line on an engine of the artifact in ``folder``."""
    run = (
        "compiled and never run; on the device: motivnet verify " + str(folder)
        if engine.comparison is None
        else f"{'passed' if engine.comparison.passed else 'FAILED'} on its GPU"
    )
    return f"{engine.backend} {engine.version} for {target_text(engine)}: {proof_text(engine.proof)}; {run}"


def target_text(engine: EngineEntry) -> str:
    """The GPU that the engine is for."""
    if engine.backend == "tensorrt-rtx":
        return (
            " and ".join(f"SM {name}" for name in engine.compute_capabilities) or "Ampere and later"
        )
    device = engine.device
    return f"{device.name} ({device.compute_capability})" if device else "an unknown GPU"


def proof_text(proof: EngineProof) -> str:
    """The share of each dtype among what multiplies matrices, and the fused attentions, with the evidence."""
    total = sum(proof.matrix_layers.values()) or 1
    shares = ", ".join(
        f"{count / total:.0%} {dtype}" for dtype, count in sorted(proof.matrix_layers.items())
    )
    fused = "unknown" if proof.attention_fused is None else str(proof.attention_fused)
    return f"{shares}, {fused} of {proof.attention_layers} attentions fused (seen in {_EVIDENCE[proof.evidence]})"
