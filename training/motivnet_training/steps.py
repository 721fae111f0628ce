"""Where a trainer is between two steps of the optimiser."""

from __future__ import annotations

import lightning


def is_between_steps(trainer: lightning.Trainer) -> bool:
    """Whether the batch that ends now has ended a step, too; Lightning has no public way to ask."""
    return not trainer.fit_loop.epoch_loop._should_accumulate()
