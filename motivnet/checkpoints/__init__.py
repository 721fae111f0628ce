"""Weights files of every known format, and how they become a model."""

from motivnet.checkpoints.load import (
    Checkpoint,
    load_checkpoint,
    load_model,
    name_of,
    open_stored,
    save_model,
)

__all__ = ["Checkpoint", "load_checkpoint", "load_model", "name_of", "open_stored", "save_model"]
