"""TensorBoard's event files."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from motivnet.errors import MissingDependencyError
from motivnet_training.history import EpochMetrics

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError as error:
    raise MissingDependencyError("tensorboard", extra="train") from error

logger = logging.getLogger(__name__)

_NOT_METRICS = ("epoch", "steps", "encoder_lr", "decoder_lr")


class EventLog:
    """Loss and learning rates by step of the optimizer, and metrics by epoch.

    What an interrupted training wrote after step ``steps``, which it resumes from, is purged. A log
    that cannot be written ends with a warning; it is no reason to end the training.
    """

    def __init__(self, folder: Path, *, steps: int) -> None:
        self.folder = folder
        self._writer: SummaryWriter | None = None
        with self._warn_on_failure():
            self._writer = SummaryWriter(str(folder), purge_step=steps + 1)

    def write_step(self, step: int, *, loss: float, rates: Mapping[str, float]) -> None:
        """Write the mean loss of the epoch so far and the learning rates."""
        values = {f"rate/{name}": rate for name, rate in rates.items()}
        self._write(step, {"loss/training, mean of the epoch so far": loss, **values})

    def write_epoch(self, metrics: EpochMetrics) -> None:
        """Write the metrics; one that is not defined is left out."""
        values = msgspec.structs.asdict(metrics)
        shown = {f"epoch/{name}": values[name] for name in values if name not in _NOT_METRICS}
        self._write(metrics.steps, shown)
        with self._warn_on_failure():
            if self._writer is not None:
                self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        with self._warn_on_failure():
            if self._writer is not None:
                self._writer.close()

    def _write(self, step: int, values: Mapping[str, float | None]) -> None:
        with self._warn_on_failure():
            for name, value in values.items():
                if self._writer is not None and value is not None:
                    self._writer.add_scalar(name, value, step)

    @contextlib.contextmanager
    def _warn_on_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = None
            message = "%s cannot be written: %s; the training continues without it"
            logger.warning(message, self.folder, error.strerror)
