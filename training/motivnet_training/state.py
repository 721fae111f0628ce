"""Where a training stands, in the terms of its data: what is saved, and how it goes on from there.

Lightning's own loop state is not used: it describes moments inside its loops, and going on from
some of them repeats or leaves out batches. A checkpoint here always stands between two steps of the
optimiser. Weights, optimiser and course do not change from one step to the next, so that a training
interrupted in between, or in a validation, goes back to the step before and repeats what it had
accumulated since.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import torch
from typing_extensions import override

from motivnet import strict_json
from motivnet.errors import CheckpointError
from motivnet.metrics import ClassificationFigures
from motivnet_training.data import FaceData
from motivnet_training.history import EpochFigures, History
from motivnet_training.module import EmotionModule, emotion_module
from motivnet_training.steps import is_between_steps

KEY = "motivnet"
FORMAT = 1
_KEY_LENGTH = 624
"""Of the Mersenne Twister."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A moment between two steps of the optimiser.

    ``batch`` counts the batches of one process that the epoch has behind it; ``steps`` all steps;
    ``loss_sum`` and ``loss_count`` the training batches of the epoch, of all processes, as far as
    it has come; the rates are those of the last step; ``best`` are the validation figures of the
    best epoch.
    """

    epoch: int = 0
    batch: int = 0
    steps: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    encoder_lr: float = 0.0
    decoder_lr: float = 0.0
    history: History = ()
    best: ClassificationFigures | None = None


class TrainingState(lightning.Callback):
    """Keeps the position; puts it into every checkpoint and takes it out of one."""

    def __init__(self) -> None:
        self.position = Position()
        self._rates: dict[str, float] = {}

    @override
    def on_train_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Counts the losses of this epoch from where it begins or goes on."""
        module = emotion_module(pl_module)
        module.loss_sum, module.loss_count = self.position.loss_sum, self.position.loss_count

    @override
    def on_before_optimizer_step(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Notes the learning rates before the course advances."""
        self._rates = {
            f"{group['name']}_lr": float(group["lr"]) for group in optimizer.param_groups
        }

    @override
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any
    ) -> None:
        """Moves on with each step of the optimiser."""
        if not is_between_steps(trainer):
            return
        data, module = _data(trainer), emotion_module(pl_module)
        if trainer.world_size > 1:
            self._add_losses_of_all(trainer, module)
        epoch = trainer.current_epoch
        before = data.start if epoch == data.start_epoch else 0
        self.position = Position(
            epoch=epoch,
            batch=before + trainer.fit_loop.epoch_loop.batch_progress.current.ready,
            steps=trainer.global_step,
            loss_sum=module.loss_sum,
            loss_count=module.loss_count,
            **self._rates,
            history=self.position.history,
            best=self.position.best,
        )

    def _add_losses_of_all(self, trainer: lightning.Trainer, module: EmotionModule) -> None:
        """Counts with the losses of this process since the last step those of the others."""
        position = self.position
        own = (module.loss_sum - position.loss_sum, float(module.loss_count - position.loss_count))
        losses = torch.tensor(own, dtype=torch.float64, device=trainer.strategy.root_device)
        total, count = trainer.strategy.reduce(losses, reduce_op="sum").tolist()
        module.loss_sum, module.loss_count = (
            position.loss_sum + total,
            position.loss_count + int(count),
        )

    def finish_epoch(self, figures: EpochFigures, *, best: ClassificationFigures | None) -> None:
        """Moves to the start of the next epoch."""
        position = self.position
        self.position = Position(
            epoch=position.epoch + 1,
            steps=position.steps,
            history=(*position.history, figures),
            best=best,
        )

    def take(self, checkpoint: dict[str, Any]) -> Position:
        """The position in a checkpoint, which becomes this one.

        Raises:
            CheckpointError: If it holds none.
        """
        self.position = position_from_checkpoint(checkpoint)
        self._rates = {
            "encoder_lr": self.position.encoder_lr,
            "decoder_lr": self.position.decoder_lr,
        }
        return self.position

    @override
    def on_save_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Puts the position in the place of Lightning's loops."""
        checkpoint.pop("loops", None)
        checkpoint[KEY] = {
            "format": FORMAT,
            "position": dataclasses.asdict(self.position),
            "random": _random_states(),
        }

    @override
    def on_load_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Lets the trainer begin at the position."""
        self.take(checkpoint)
        _restore_random_states(checkpoint[KEY].get("random"))
        data = _data(trainer)
        data.start_epoch, data.start = self.position.epoch, self.position.batch
        _set_counters(trainer, self.position)


def position_from_checkpoint(checkpoint: dict[str, Any]) -> Position:
    """The position in a checkpoint of ours.

    Raises:
        CheckpointError: If it holds none.
    """
    state = checkpoint.get(KEY)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(
            "the checkpoint to resume from was not written by this version of motivnet-train fit"
        )
    try:
        position = strict_json.build(Position, _listed(state.get("position")))
    except strict_json.StrictJSONError as error:
        raise CheckpointError(f"the checkpoint to resume from is damaged: {error}") from error
    if min(position.epoch, position.batch, position.steps, position.loss_count) < 0:
        raise CheckpointError(
            "the checkpoint to resume from is damaged: its position has a number below 0"
        )
    return position


def checkpoint_at(checkpoint: dict[str, Any], position: Position) -> dict[str, Any]:
    """The same weights and optimiser at another position."""
    return {**checkpoint, KEY: {**checkpoint[KEY], "position": dataclasses.asdict(position)}}


def _set_counters(trainer: lightning.Trainer, position: Position) -> None:
    """Between two epochs, so that the rest of this one is to Lightning an epoch with fewer batches."""
    progress = trainer.fit_loop.epoch_progress
    for tracker in (progress.total, progress.current):
        for name in ("ready", "started", "processed", "completed"):
            setattr(tracker, name, position.epoch)
    loop = trainer.fit_loop.epoch_loop
    steps = loop.automatic_optimization.optim_progress.optimizer.step.total
    steps.ready = steps.completed = position.steps
    loop._batches_that_stepped = position.steps


def _random_states() -> dict[str, Any]:
    """What is drawn for order and augmentation follows from seed and epoch; this is for whatever else draws."""
    version, numbers, gauss = random.getstate()
    kind, key, place, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [kind, [int(number) for number in key], place, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _restore_random_states(states: Any) -> None:
    """Puts the generators where they stood.

    Raises:
        CheckpointError: If these are no states of generators. NumPy compares no position with the
            length of its key, and would read beyond it.
    """
    try:
        version, numbers, gauss = states["python"]
        kind, key, place, has_gauss, cached = states["numpy"]
        if (len(key), type(place)) != (_KEY_LENGTH, int) or not 0 <= place <= _KEY_LENGTH:
            raise ValueError("a place beyond the key")
        random.setstate((version, tuple(numbers), gauss))
        np.random.set_state((kind, np.asarray(key, np.uint32), place, has_gauss, cached))
        torch.set_rng_state(states["torch"])
        if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(states["cuda"])
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            "the checkpoint to resume from is damaged: its states of random generators are not valid"
        ) from error


def _data(trainer: lightning.Trainer) -> FaceData:
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, FaceData):
        raise TypeError(f"the trainer's data should be FaceData, not {type(data).__name__}")
    return data


def _listed(value: Any) -> Any:
    """Tuples as the lists that JSON has."""
    if isinstance(value, dict):
        return {name: _listed(each) for name, each in value.items()}
    return [_listed(each) for each in value] if isinstance(value, (list, tuple)) else value
