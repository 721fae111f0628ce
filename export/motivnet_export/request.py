"""What an export was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from motivnet.errors import ConfigError
from motivnet.manifest import AttentionForm, InputDtype, Precision

MAX_BATCH = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What ``motivnet-export build`` was asked for; the defaults are the command's."""

    checkpoint: Path | None = None
    model: str | None = None
    out: Path | None = None
    precision: Precision = "fp32"
    attention: Literal["auto", "fused", "decomposed"] = "auto"
    input_dtype: InputDtype = "float32"
    preprocess: str | None = None
    max_batch: int = 8
    calibration: Path | None = None
    parity_images: int | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.max_batch <= MAX_BATCH:
            raise ConfigError(f"--max-batch must be between 1 and {MAX_BATCH}, not {self.max_batch}")
        if self.parity_images is not None and self.parity_images < 1:
            raise ConfigError(f"--parity-images must be at least 1, not {self.parity_images}")

    def attention_for(self, precision: Precision) -> AttentionForm:
        """The form of attention: fused wherever the precision has it, unless one was asked for."""
        if self.attention != "auto":
            return self.attention
        return "decomposed" if precision == "fp32" else "fused"
