"""What an export was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from motivnet.artifact.manifest import MAX_BATCH, MAX_PURPOSE, InputDtype
from motivnet.errors import ConfigError
from motivnet.parity import AttentionForm, Precision
from motivnet_engines.build.backend import available_backend
from motivnet_engines.build.options import EngineOptions, compute_capabilities_from_text
from motivnet_export.parity_images import check_num_images

InputForm = Literal["float32", "uint8", "image"]
Target = Literal["auto", "onnx", "openvino", "tensorrt", "tensorrt-rtx", "web"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What ``motivnet-export build`` was asked for.

    ``image_size`` is (height, width) of the model's input, if it is not the one that it was trained
    at; ``input`` is ``image`` for pixels of any height and width. ``exact_rounding`` compares with
    PyTorch's own half arithmetic instead of simulating it. ``engine`` is compiled from the ONNX
    graph; with ``engine_optional`` the artifact is written without it if that fails.
    ``for_openvino`` quantises for OpenVINO on this processor instead of for TensorRT. ``purpose``
    is what the artifact is for, in the words of whoever deploys it.
    """

    checkpoint: Path | None = None
    ema: bool = False
    model: str | None = None
    out: Path | None = None
    precision: Precision = "fp32"
    attention: Literal["auto", "fused", "decomposed"] = "auto"
    input: InputForm = "float32"
    preprocess: str | None = None
    image_size: tuple[int, int] | None = None
    max_batch: int = 8
    images: Path | None = None
    num_images: int | None = None
    exact_rounding: bool = False
    calibration_images: Path | None = None
    strict: bool = False
    engine: EngineOptions | None = None
    engine_optional: bool = False
    for_openvino: bool = False
    purpose: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.max_batch <= MAX_BATCH:
            raise ConfigError(
                f"--max-batch must be between 1 and {MAX_BATCH}, not {self.max_batch}"
            )
        check_num_images(self.num_images)
        if self.purpose is not None:
            _check_purpose(self.purpose)
        if self.calibration_images is not None and self.precision not in ("int8", "fp8"):
            raise ConfigError(
                f"--calibration-images is for INT8 and FP8, not for {self.precision}; leave it "
                "out, or give --int8"
            )

        if self.for_openvino and self.precision == "fp8":
            raise ConfigError("OpenVINO computes no FP8 on a CPU; give --int8 or --precision bf16")

    @property
    def input_dtype(self) -> InputDtype:
        """The dtype of the graph's input."""
        return "float32" if self.input == "float32" else "uint8"

    @property
    def any_size(self) -> bool:
        """Whether the graph itself resizes its input."""
        return self.input == "image"

    def attention_forms(self, precision: Precision) -> tuple[AttentionForm, ...]:
        """Return the forms of attention to try in a precision, in order.

        The decomposed form is a second try only for an engine: the ONNX graph computes the same in
        both.
        """
        if self.attention != "auto":
            return (self.attention,)
        if precision == "fp32":
            return ("decomposed",)
        return ("fused",) if self.engine is None else ("fused", "decomposed")


def _check_purpose(purpose: str) -> None:
    if not purpose.strip() or not purpose.isprintable():
        raise ConfigError("--purpose is one line of text: say what the artifact is for")
    if len(purpose) > MAX_PURPOSE:
        raise ConfigError(
            f"--purpose has at most {MAX_PURPOSE} characters, not {len(purpose)}; shorten it"
        )


def engine_for_target(target: Target, *, sm: str | None) -> EngineOptions | None:
    """Return what ``--target`` asks to compile on this machine, None for the ONNX graph alone.

    Raises:
        ConfigError: If compute capabilities are given and cannot be used.
    """
    backend = available_backend() if target == "auto" else target
    if backend is None or backend == "onnx" or backend == "openvino" or backend == "web":  # noqa: PLR1714 - a type checker narrows only comparisons
        if sm is not None:
            raise ConfigError(
                "--sm is for --target tensorrt-rtx, which compiles for GPUs that are not here"
            )
        return None
    return EngineOptions(backend=backend, compute_capabilities=compute_capabilities_from_text(sm))
