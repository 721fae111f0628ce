"""One training run by Lightning, which speaks only at a terminal and leaves no file but ours."""

from __future__ import annotations

import contextlib
import datetime
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.strategies import DDPStrategy, Strategy
from typing_extensions import override

from motivnet.errors import MotivNetError, TrainingError
from motivnet.progress import Advance, progress
from motivnet_training.checkpoint_io import AtomicCheckpointIO
from motivnet_training.data import FaceData
from motivnet_training.guard import FiniteGuard
from motivnet_training.hardware import Hardware
from motivnet_training.module import EmotionModule
from motivnet_training.recipe import TrainingRecipe
from motivnet_training.saving import Saver
from motivnet_training.state import TrainingState, checkpoint_at

_COLLECTIVE_TIMEOUT = datetime.timedelta(minutes=30)


def run_training(
    module: EmotionModule,
    data: FaceData,
    *,
    state: TrainingState,
    saver: Saver,
    hardware: Hardware,
    resume: Path | None = None,
    callbacks: tuple[lightning.Callback, ...] = (),
) -> None:
    """Trains ``module`` in place, with a pass over the validation images after each epoch.

    Args:
        resume: A checkpoint of this training to go on from.

    Raises:
        TrainingError: If a number stops being finite, or another process of the training ends.
        TrainingStoppedError: If a signal asked for it.
    """
    first = (state, FiniteGuard(), saver)  # in this order: what is saved was looked at before
    with _quiet_lightning(), _lost_process(hardware), progress("training", total=module.total_steps) as advance:
        trainer = _trainer(module.recipe, hardware, (*first, *callbacks, _Progress(advance)))
        if resume is not None:
            _finish_interrupted_epoch(trainer, module, data, saver=saver, resume=resume)
        trainer.fit(module, datamodule=data, ckpt_path=resume)


def _finish_interrupted_epoch(
    trainer: lightning.Trainer, module: EmotionModule, data: FaceData, *, saver: Saver, resume: Path
) -> None:
    """Validates first where all batches of an epoch were done and its validation was not."""
    io = AtomicCheckpointIO()
    checkpoint = io.load_checkpoint(resume)
    position = saver.state.take(checkpoint)
    if position.batch == 0 or position.batch < data.batches_of_an_epoch(world=trainer.world_size):
        return
    trainer.validate(module, datamodule=data, ckpt_path=resume, verbose=False)
    module.train()
    saver.end_epoch(module.logits, checkpoint["state_dict"], first=trainer.is_global_zero)
    if trainer.is_global_zero:
        io.save_checkpoint(checkpoint_at(checkpoint, saver.state.position), resume)
    trainer.strategy.barrier("the end of an interrupted epoch")


def _trainer(
    recipe: TrainingRecipe, hardware: Hardware, callbacks: tuple[lightning.Callback, ...]
) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        strategy=_strategy(hardware),
        precision=recipe.precision,
        max_epochs=recipe.epochs,
        accumulate_grad_batches=recipe.accumulate,
        gradient_clip_val=recipe.gradient_norm,
        callbacks=list(callbacks),
        plugins=[AtomicCheckpointIO()],
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _strategy(hardware: Hardware) -> str | Strategy:
    """DDP waits no longer than this for a process that hangs; one that ends is noticed at once."""
    if hardware.strategy == "ddp" or (hardware.strategy == "auto" and hardware.processes > 1):
        return DDPStrategy(timeout=_COLLECTIVE_TIMEOUT)
    return hardware.strategy


class _Progress(lightning.Callback):
    """Advances a bar by one for each step of the optimiser."""

    def __init__(self, advance: Advance) -> None:
        self.advance = advance
        self.steps = 0

    @override
    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any, **__: Any) -> None:
        """Called by Lightning."""
        self.advance(trainer.global_step - self.steps)
        self.steps = trainer.global_step


@contextlib.contextmanager
def _lost_process(hardware: Hardware) -> Iterator[None]:
    """One line when the connection to another process breaks, which torch reports as a RuntimeError."""
    try:
        yield
    except MotivNetError:
        raise
    except RuntimeError as error:
        if hardware.processes == 1:
            raise
        raise TrainingError(
            f"the {hardware.processes} training processes lost each other ({str(error).splitlines()[0]}); "
            "see what the others say, then go on with --resume"
        ) from error


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning announces devices and tips at the level of information; its warnings still come through.

    All but these: it advises more workers, whose number is chosen elsewhere; it should build the leaves of a tree with
    torch's ``treespec_leaf``, but calls the deprecated ``LeafSpec``, and torch warns in every run:
    https://github.com/Lightning-AI/pytorch-lightning/issues/21326; and it gathers by what torch deprecates.
    """
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*LeafSpec.* is deprecated", category=FutureWarning)
            warnings.filterwarnings("ignore", message=r".*functional\.all_gather is deprecated")
            warnings.filterwarnings("ignore", message=r".*does not have many workers")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
