"""What TensorRT-RTX says of an engine's header before the engine is loaded, in words with a remedy.

A valid header is no proof of an undamaged engine: only its first bytes are looked at. The hash in
the manifest is.
"""

from __future__ import annotations

import logging
from typing import Any

from motivnet.errors import EngineError

logger = logging.getLogger(__name__)

_REBUILD = "build it here: motivnet build-engine ARTIFACT --backend tensorrt-rtx"

DIAGNOSES: dict[str, str] = {
    "MALFORMED_ENGINE": f"the file is damaged or is not an engine of TensorRT-RTX; {_REBUILD}",
    "VERSION_MISMATCH": f"another version of TensorRT-RTX built it; install that version, or {_REBUILD}",
    "UNSUPPORTED_CC": f"it was not compiled for this GPU; {_REBUILD}",
    "OLD_CUDA_DRIVER": "the NVIDIA driver is too old for it; update the driver",
    "OLD_CUDA_RUNTIME": "the CUDA runtime is too old for it; update the CUDA libraries that tensorrt_rtx is used with",
    "INSUFFICIENT_GPU_MEMORY": (
        "the GPU has not enough free memory for it; free some, or build it with a smaller --max-batch"
    ),
    "CUDA_ERROR": "CUDA is not installed correctly; repair the NVIDIA driver, which motivnet doctor reports on",
}
"""By the names of ``EngineInvalidityDiagnostics``."""


def check_validity(trt: Any, validity: Any, diagnostics: int) -> None:
    """Returns unless TensorRT-RTX knows a reason why an engine cannot be loaded here.

    ``INVALID`` without a reason is what a machine without a driver says of every good engine:
    deserialisation will tell then.

    Args:
        trt: The module.
        validity: What ``Runtime.get_engine_validity`` says of the engine's header,
        diagnostics: and the reasons, as bits.

    Raises:
        EngineError: Naming every reason, each with its remedy.
    """
    reasons = _reasons(trt, int(diagnostics))
    if validity == trt.EngineValidity.INVALID and reasons:
        raise EngineError(f"the engine cannot be used here: {'; '.join(reasons)}", problems=reasons)
    if reasons or validity == trt.EngineValidity.SUBOPTIMAL:
        said = "; ".join(reasons) or f"it was compiled for another GPU and may be slow; {_REBUILD}"
        logger.warning("TensorRT-RTX finds the engine usable, but: %s", said)


def _reasons(trt: Any, diagnostics: int) -> tuple[str, ...]:
    """The words for the bits that are set, worst first; a bit that a later version added is given by its name."""
    members = trt.EngineInvalidityDiagnostics.__members__
    present = [name for name, member in members.items() if diagnostics & int(member)]
    present.sort(
        key=lambda name: list(DIAGNOSES).index(name) if name in DIAGNOSES else len(DIAGNOSES)
    )
    reasons = [DIAGNOSES.get(name, f"TensorRT-RTX says {name}; {_REBUILD}") for name in present]
    rest = diagnostics & ~sum(int(member) for member in members.values())
    return (
        *reasons,
        *([f"TensorRT-RTX gives the unknown reason {rest}; {_REBUILD}"] if rest else []),
    )
