"""One training from its inputs to the last step: the parts put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from motivnet.errors import CheckpointError
from motivnet.model import MotivNet
from motivnet_training.batch_sampler import steps_per_epoch
from motivnet_training.checkpoint_io import AtomicCheckpointIO
from motivnet_training.data import FaceData, LabelledInputs
from motivnet_training.devices import Hardware
from motivnet_training.epoch import EpochKeeper, model_from_state
from motivnet_training.gradient_checkpointing import checkpoint_activations
from motivnet_training.history import is_over
from motivnet_training.module import EmotionModule
from motivnet_training.recipe import TrainingRecipe
from motivnet_training.resumable import check_resumable
from motivnet_training.saving import Saver
from motivnet_training.signals import listening
from motivnet_training.state import Position, TrainingState
from motivnet_training.trainer import run_training


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Everything that one training needs.

    ``keeper`` says where and as what the weights are kept; ``checkpoint_seconds`` pass between two
    savings inside an epoch; ``announce`` hears a line about each epoch.
    """

    model: MotivNet
    training: LabelledInputs
    keeper: EpochKeeper
    seed: int
    hardware: Hardware
    checkpoint_seconds: float = 600.0
    announce: Callable[[str], None] | None = None

    @property
    def recipe(self) -> TrainingRecipe:
        """How it is trained."""
        return self.keeper.recipe


def train(session: Session, *, resume: Path | None = None) -> Position:
    """Trains the session's model in place and tells where it ended.

    Args:
        resume: A checkpoint of this training to go on from.

    Raises:
        CheckpointError: If the checkpoint cannot be resumed from.
        TrainingError: If a number stops being finite, or another process of the training ends.
        TrainingStoppedError: If a signal asked for it.
    """
    _prepare(session.model, session.recipe)
    state = TrainingState()
    data, pending = _data(session), None
    if resume is not None:
        checkpoint = _state_of(resume)
        position = state.take(checkpoint)
        check_resumable(checkpoint, _module(session))
        batches = data.batches_of_an_epoch(world=session.hardware.processes)
        _check_position(position, batches=batches, epochs=session.recipe.epochs)
        if session.announce is not None:
            session.announce(f"goes on after epoch {position.epoch}, step {position.steps}")
        if is_over(position.history, session.recipe):
            ended = model_from_state(checkpoint["state_dict"], session.keeper.config)
            session.model.load_state_dict(ended.state_dict())
            return position
        pending = checkpoint if position.batch == batches else None
        del checkpoint
    with listening() as request:
        folder = session.keeper.folder
        saver = Saver(
            state,
            session.keeper,
            request,
            folder=folder,
            seconds=session.checkpoint_seconds,
            announce=session.announce,
        )
        run_training(
            _module(session),
            data,
            state=state,
            saver=saver,
            hardware=session.hardware,
            resume=resume,
            pending=pending,
            callbacks=_callbacks(session, state),
        )
    session.model.cpu().eval()
    return state.position


def _state_of(resume: Path) -> dict[str, Any]:
    try:
        return AtomicCheckpointIO().load_checkpoint(resume)
    except CheckpointError as error:
        remedy = (
            f"the weights beside it are not touched; without {resume.name} the training begins anew"
        )
        raise CheckpointError(f"{error}; {remedy}") from error


def class_weights(training: LabelledInputs) -> Tensor:
    """Weights ``(classes,)`` inverse to how often each class occurs; an image weighs one on
    average.

    A class that does not occur has a weight of 0.
    """
    counts = training.targets.sum(dim=0)
    occurring = counts > 0
    return torch.where(occurring, counts.sum() / (occurring.sum() * counts.clamp(min=1e-12)), 0.0)


def _check_position(position: Position, *, batches: int, epochs: int) -> None:
    """Returns when a position is within the training; one behind its end would pass for a training that is over."""
    if position.batch > batches or position.epoch > epochs:
        raise CheckpointError(
            f"the checkpoint to resume from is damaged: it stands at batch {position.batch} of {batches} "
            f"in epoch {position.epoch} of {epochs}"
        )


def _prepare(model: MotivNet, recipe: TrainingRecipe) -> None:
    model.encoder.requires_grad_(not recipe.is_frozen)
    if recipe.gradient_checkpointing:
        checkpoint_activations(model.encoder)
    if recipe.compile:  # in place: the weights keep their names
        (model.decoder if recipe.cached else model).compile()


def _module(session: Session) -> EmotionModule:
    recipe, training = session.recipe, session.training
    per_epoch = steps_per_epoch(
        len(training), recipe.batch_size, recipe.accumulate, world=session.hardware.processes
    )
    return EmotionModule(
        session.model,
        recipe=recipe,
        total_steps=recipe.epochs * per_epoch,
        validation_images=len(session.keeper.validation),
        names=training.names,
        class_weights=class_weights(training) if recipe.class_weights else None,
        on_tokens=recipe.cached,
    )


def _data(session: Session) -> FaceData:
    return FaceData(
        session.training,
        session.keeper.validation,
        batch_size=session.recipe.batch_size,
        seed=session.seed,
        workers=session.hardware.worker_count,
    )


def _callbacks(session: Session, state: TrainingState) -> tuple[lightning.Callback, ...]:
    callbacks: list[lightning.Callback] = []
    if session.keeper.folder is not None:
        from motivnet_training.event_log import EventLog

        callbacks.append(EventLog(state, session.keeper.folder.tensorboard))
    return tuple(callbacks)
