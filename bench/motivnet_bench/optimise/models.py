"""From a point to its weights, and from weights to an artifact that can be measured."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from motivnet.artifact import Artifact, open_artifact
from motivnet.config import ModelConfig
from motivnet.files import write_atomic
from motivnet.parity import Precision
from motivnet.path_kind import is_folder
from motivnet.schema import encode
from motivnet_export.build import build_artifact
from motivnet_export.parity_images import default_count
from motivnet_export.request import BuildRequest, engine_for_target
from motivnet_export.source import ModelSource

FEW_IMAGES = 4
"""Of a point's parity check; the pick is built again, and compared on as many as ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A checkpoint and the model to make of it.

    ``file`` is its path below the folder of the result if it was trained here, ``before`` its
    accuracy in percent before that.
    """

    checkpoint: Path
    config: ModelConfig
    file: str | None = None
    before: float | None = None


def build_point(
    weights: Weights,
    precision: Precision,
    folder: Path,
    *,
    on_message: Callable[[str], None],
    final: bool = False,
) -> Artifact:
    """Build the artifact of a point; a precision that is not close enough to PyTorch is refused.

    Args:
        final: Whether it is the pick, which is compared with PyTorch on as many images as ever, and
            gets an engine if this machine can build one.

    Raises:
        ParityError, ExportError: If the artifact is not close enough.
    """
    # A file beside it: what is in the folder of an artifact is the artifact's.
    description = folder.with_name(f".{folder.name}.json")
    write_atomic(description, encode(weights.config.to_dict()))
    few = min(FEW_IMAGES, default_count(weights.config))
    try:
        return build_artifact(
            BuildRequest(
                checkpoint=weights.checkpoint,
                model=str(description),
                precision=precision,
                out=folder,
                num_images=None if final else few,
                strict=True,
                engine=engine_for_target("auto", sm=None) if _has_gpu() else None,
                engine_optional=True,
            ),
            on_message=on_message,
        )
    finally:
        description.unlink(missing_ok=True)


def reuse_or_build(
    weights: Weights,
    precision: Precision,
    folder: Path,
    source: ModelSource,
    *,
    on_message: Callable[[str], None],
) -> Artifact:
    """Return the full model's artifact in a folder, which an interrupted run may have built."""
    if is_folder(folder):
        artifact = open_artifact(folder)
        made_of = artifact.manifest.source
        if (made_of.sha256, made_of.config) == (source.sha256, weights.config):
            artifact.verify_files()
            return artifact
        shutil.rmtree(folder)
    return build_point(weights, precision, folder, on_message=on_message)


def precisions_here() -> tuple[Precision, ...]:
    """Return the precisions that this machine computes in, FP32 first.

    On a processor without BF16 instructions, and in FP16 on most, a runtime computes in FP32 all
    the same.
    """
    from motivnet_engines.system.machine import computes_natively

    if _has_gpu():
        return "fp32", "fp16", "bf16"
    return ("fp32", "bf16") if computes_natively("bfloat16") else ("fp32",)


def _has_gpu() -> bool:
    from motivnet_engines.system.nvidia import read_driver

    return bool(read_driver().gpus)
