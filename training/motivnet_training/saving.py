"""When a training saves, and what: the state to resume from, and the weights of the best epoch."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from motivnet.errors import TrainingStoppedError
from motivnet.files import write_atomic
from motivnet_training.epoch import EpochKeeper, epoch_figures
from motivnet_training.history import csv_from_history, is_better, is_over
from motivnet_training.module import emotion_module
from motivnet_training.run_folder import RunFolder
from motivnet_training.signals import StopRequest
from motivnet_training.state import TrainingState
from motivnet_training.steps import is_between_steps


class Saver(lightning.Callback):
    """Saves at the end of each epoch, every so often in between, and when the training is asked to
    stop.

    Args:
        folder: None saves nothing.
        seconds: Between two savings inside an epoch.
        announce: Hears a line about each epoch.
    """

    def __init__(
        self,
        state: TrainingState,
        keeper: EpochKeeper,
        request: StopRequest,
        *,
        folder: RunFolder | None,
        seconds: float,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        self.state = state
        self.keeper = keeper
        self.request = request
        self.folder = folder
        self.seconds = seconds
        self.announce = announce
        self._saved = time.monotonic()

    @override
    def setup(self, *_: Any, **__: Any) -> None:
        """All processes have met; until then a signal ends this one at once."""
        self.request.install()

    @override
    def on_train_start(self, *_: Any, **__: Any) -> None:
        """Lightning has put a handler of its own in the place of ours by now."""
        self.request.install()

    @override
    def on_validation_start(self, *_: Any, **__: Any) -> None:
        """As at the start of a training."""
        self.request.install()

    @override
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any
    ) -> None:
        """Stops if asked to, on which several processes agree after each batch; saves if it is time."""
        due = is_between_steps(trainer) and time.monotonic() - self._saved >= self.seconds
        asked, due = _agreed(trainer, asked=self.request.number is not None, due=due)
        if asked:
            self._stop(trainer)
        elif due:
            self._save(trainer)

    @override
    def on_validation_batch_end(self, trainer: lightning.Trainer, *_: Any, **__: Any) -> None:
        """Stops if asked to, and goes back to the step before the validation."""
        if _agreed(trainer, asked=self.request.number is not None, due=False)[0]:
            self._stop(trainer)

    @override
    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Ends the epoch, and the training where its recipe says so."""
        weights = trainer.strategy.lightning_module_state_dict()
        trainer.should_stop = self.end_epoch(
            emotion_module(pl_module).logits, weights, first=trainer.is_global_zero
        )
        self._save(trainer)
        if trainer.is_global_zero:
            self.tell()

    def end_epoch(
        self, logits: NDArray[np.float64], weights: Mapping[str, Tensor], *, first: bool
    ) -> bool:
        """Takes the figures of a validated epoch and keeps its weights if they are the best;
        whether it was the last.

        The weights come before the state: what is resumed from must not know of an epoch whose
        weights are not there.
        """
        position, best = self.state.position, self.state.position.best
        of_validation = self.keeper.figures(logits)
        figures = epoch_figures(position, of_validation)
        if is_better(figures, position.history):
            best = of_validation
            if first:
                self.keeper.keep_best(weights, figures)
        self.state.finish_epoch(figures, best=best)
        return is_over(self.state.position.history, self.keeper.recipe)

    def tell(self) -> None:
        """Says how the last epoch was, once its state is saved."""
        history = self.state.position.history
        if self.folder is not None:
            write_atomic(self.folder.metrics, csv_from_history(history).encode())
        if self.announce is not None:
            last = history[-1]
            self.announce(
                f"epoch {last.epoch}/{self.keeper.recipe.epochs}: training loss {last.train_loss:.4f}, "
                f"validation loss {last.val_loss:.4f}, accuracy {last.accuracy:.1%}"
            )

    def _save(self, trainer: lightning.Trainer) -> None:
        if self.folder is not None:
            trainer.save_checkpoint(self.folder.resume)
        self._saved = time.monotonic()

    def _stop(self, trainer: lightning.Trainer) -> None:
        self.request.answered()
        if (
            trainer.state.fn == TrainerFn.FITTING
        ):  # the validation that resuming begins with has no optimiser to save
            self._save(trainer)
        position = self.state.position
        place = f"epoch {position.epoch + 1}, step {position.steps}"
        kept = (
            f"saved {self.folder.resume}; go on with --resume"
            if self.folder
            else "nothing was written"
        )
        raise TrainingStoppedError(
            f"the training was asked to stop in {place}: {kept}",
            signal=self.request.number or signal.SIGTERM,
        )


def _agreed(trainer: lightning.Trainer, *, asked: bool, due: bool) -> tuple[bool, bool]:
    """Whether any process was asked to stop, and whether the first one is due to save."""
    if trainer.world_size == 1:
        return asked, due
    flags = torch.tensor(
        [float(asked), float(due and trainer.is_global_zero)], device=trainer.strategy.root_device
    )
    total = trainer.strategy.reduce(flags, reduce_op="sum")
    return bool(total[0] > 0), bool(total[1] > 0)
