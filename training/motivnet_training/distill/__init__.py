"""Distillation: a small student learns what a large model answers, with or without labels."""

from motivnet_training.distill.request import DistillRequest
from motivnet_training.distill.run import DistillSummary, distill

__all__ = ["DistillRequest", "DistillSummary", "distill"]
