"""How an INT8 artifact for a CPU was made, what it became there, and how much faster it was."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from motivnet.parity import Comparison
from motivnet.schema import Schema


class SpeedComparison(Schema, frozen=True, kw_only=True):
    """A runtime against another one on one machine, measured in alternating rounds.

    Attributes:
        milliseconds: The median time per image; ``baseline_milliseconds`` that of the other one.
        ratio: The median, over the rounds, of the baseline's time by the runtime's.
        lower_quartile: Of the same ratios: three quarters of the rounds were at least so much
            faster.
    """

    runtime: str
    baseline: str
    milliseconds: float
    baseline_milliseconds: float
    ratio: float
    lower_quartile: float
    rounds: Annotated[int, Meta(ge=1)]
    processor: str

    @property
    def is_faster(self) -> bool:
        """Whether the runtime was faster in at least three quarters of the rounds."""
        return self.lower_quartile > 1


class QuantisedVariant(Schema, frozen=True, kw_only=True):
    """A quantisation that was tried, with (``smooth_quant``) or without SmoothQuant."""

    smooth_quant: bool
    comparison: Comparison


class Quantisation(Schema, frozen=True, kw_only=True):
    """The quantisation of an artifact for OpenVINO.

    Attributes:
        tool: The name and version of what placed the Q/DQ pairs.
        images: Number of images that the ranges were measured on.
        smooth_quant: Whether the variant with SmoothQuant was kept.
        variants: Both, each compared with PyTorch FP32.
        linear_layers: Linear layers and convolutions by the dtype in which OpenVINO multiplies
            them, counted in the compiled model.
        fused_attentions: Attentions that OpenVINO computes in one layer each.
    """

    tool: str
    images: Annotated[int, Meta(ge=1)]
    smooth_quant: bool
    variants: tuple[QuantisedVariant, ...]
    linear_layers: dict[str, int]
    fused_attentions: int
    speed: SpeedComparison
