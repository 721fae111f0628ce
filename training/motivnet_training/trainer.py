"""One training run by Lightning, which speaks only at a terminal and leaves no file but ours."""

from __future__ import annotations

import contextlib
import datetime
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.strategies import DDPStrategy, Strategy
from typing_extensions import override

from motivnet.errors import ConfigError, ProcessLostError, TrainingError
from motivnet.progress import Advance, progress
from motivnet_training.checkpoint_io import AtomicCheckpointIO
from motivnet_training.data import FaceData
from motivnet_training.devices import Hardware
from motivnet_training.guard import FiniteGuard
from motivnet_training.module import EmotionModule
from motivnet_training.recipe import TrainingRecipe
from motivnet_training.saving import Saver
from motivnet_training.state import TrainingState, checkpoint_at

_COLLECTIVE_TIMEOUT = datetime.timedelta(minutes=30)
_CONNECTION = re.compile(
    r"gloo|nccl|c10d|TCPStore|socket|connection|broken pipe|timed? ?out", re.IGNORECASE
)
"""What the messages of torch's backends have in common when another process is gone; most have no type of their own."""


def run_training(
    module: EmotionModule,
    data: FaceData,
    *,
    state: TrainingState,
    saver: Saver,
    hardware: Hardware,
    resume: Path | None = None,
    pending: dict[str, Any] | None = None,
    callbacks: tuple[lightning.Callback, ...] = (),
) -> None:
    """Trains ``module`` in place, with a pass over the validation images after each epoch.

    Args:
        resume: A checkpoint of this training to go on from.
        pending: What is in it, where all batches of an epoch were done and its validation was not.

    Raises:
        ConfigError: If there is no such hardware here.
        TrainingError: If a number stops being finite, or another process of the training ends.
        TrainingStoppedError: If a signal asked for it.
    """
    first = (state, FiniteGuard(), saver)  # in this order: what is saved was looked at before
    with (
        _quiet_lightning(),
        _torch_errors(hardware),
        progress("training", total=module.total_steps) as advance,
    ):
        trainer = _trainer(module.recipe, hardware, (*first, *callbacks, _Progress(advance)))
        is_over = False
        if resume is not None and pending is not None:
            is_over = _end_pending_epoch(
                trainer, module, data, saver=saver, resume=resume, pending=pending
            )
        if not is_over:
            trainer.fit(module, datamodule=data, ckpt_path=resume)


def _end_pending_epoch(
    trainer: lightning.Trainer,
    module: EmotionModule,
    data: FaceData,
    *,
    saver: Saver,
    resume: Path,
    pending: dict[str, Any],
) -> bool:
    """Does what is left of an interrupted epoch, its validation; whether the training is over with that."""
    trainer.validate(module, datamodule=data, ckpt_path=resume, verbose=False)
    module.train()
    is_over = saver.end_epoch(module.logits, pending["state_dict"], first=trainer.is_global_zero)
    if trainer.is_global_zero:
        AtomicCheckpointIO().save_checkpoint(checkpoint_at(pending, saver.state.position), resume)
        saver.tell()
    trainer.strategy.barrier("the end of an interrupted epoch")
    return is_over


def _trainer(
    recipe: TrainingRecipe, hardware: Hardware, callbacks: tuple[lightning.Callback, ...]
) -> lightning.Trainer:
    if recipe.precision == "16-mixed" and not torch.cuda.is_available():
        raise ConfigError("16-mixed needs a GPU; use bf16-mixed or 32-true")
    with _hardware_errors():
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
def _hardware_errors() -> Iterator[None]:
    """One line for devices and strategies that are not to be had here."""
    try:
        yield
    except (MisconfigurationException, ValueError, ModuleNotFoundError) as error:
        raise ConfigError(f"this hardware cannot be had: {' '.join(str(error).split())}") from error


@contextlib.contextmanager
def _torch_errors(hardware: Hardware) -> Iterator[None]:
    """One line when memory runs out, or when the connection to another process breaks."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            "the device is out of memory; use --gradient-checkpointing, a smaller --batch-size with a larger "
            "--accumulate, or --precision bf16-mixed"
        ) from error
    except RuntimeError as error:
        if hardware.processes == 1 or not _CONNECTION.search(str(error)):
            raise
        raise ProcessLostError(
            f"the {hardware.processes} training processes lost each other: one of them has ended; "
            "if it has said nothing it was killed; go on with --resume"
        ) from error


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning announces devices and tips at the level of information; its warnings still come
    through.

    All but these: it advises more workers, whose number is chosen elsewhere; it should build the
    leaves of a tree with torch's ``treespec_leaf``, but calls the deprecated ``LeafSpec``, and
    torch warns in every run: https://github.com/Lightning-AI/pytorch-lightning/issues/21326; and it
    gathers by what torch deprecates.
    """
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=r".*LeafSpec.* is deprecated", category=FutureWarning
            )
            warnings.filterwarnings("ignore", message=r".*functional\.all_gather is deprecated")
            warnings.filterwarnings("ignore", message=r".*does not have many workers")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
