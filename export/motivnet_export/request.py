"""What an export was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from motivnet.artifact.manifest import MAX_BATCH, AttentionForm, InputDtype, Precision
from motivnet.errors import ConfigError
from motivnet_engines.build.options import EngineOptions
from motivnet_export.parity_images import check_count

InputForm = Literal["float32", "uint8", "image"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What ``motivnet-export build`` was asked for.

    ``engine`` is what is compiled once the ONNX graph stands; with ``engine_optional`` the artifact
    stays without it where the compiler refuses. ``input`` is ``image`` for pixels of any height and
    width.
    """

    checkpoint: Path | None = None
    model: str | None = None
    out: Path | None = None
    precision: Precision = "fp32"
    attention: Literal["auto", "fused", "decomposed"] = "auto"
    input: InputForm = "float32"
    preprocess: str | None = None
    max_batch: int = 8
    calibration: Path | None = None
    parity_images: int | None = None
    strict: bool = False
    engine: EngineOptions | None = None
    engine_optional: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.max_batch <= MAX_BATCH:
            raise ConfigError(
                f"--max-batch must be between 1 and {MAX_BATCH}, not {self.max_batch}"
            )
        check_count(self.parity_images)

    @property
    def input_dtype(self) -> InputDtype:
        """What the graph's input holds."""
        return "float32" if self.input == "float32" else "uint8"

    @property
    def any_size(self) -> bool:
        """Whether the graph itself resizes its input."""
        return self.input == "image"

    def forms_for(self, precision: Precision) -> tuple[AttentionForm, ...]:
        """The forms of attention to try in a precision: the one asked for, else fused where the
        precision has it.

        Only an engine can need the decomposed form of such a precision too: the ONNX graph computes
        the same.
        """
        if self.attention != "auto":
            return (self.attention,)
        if precision == "fp32":
            return ("decomposed",)
        return ("fused",) if self.engine is None else ("fused", "decomposed")
