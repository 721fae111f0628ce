"""One run of Lightning that leaves no file behind and speaks only at a terminal."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import lightning

from motivnet.progress import Advance, progress
from motivnet_training.data import FaceDataModule
from motivnet_training.module import EmotionModule

_GRADIENT_NORM = 1.0


def run_training(module: EmotionModule, data: FaceDataModule, *, epochs: int, accelerator: str) -> None:
    """Trains ``module`` in place, with a pass over the validation samples after each epoch.

    Raises:
        TrainingError: If the loss stops being finite.
    """
    with _quiet_lightning(), progress("training", total=module.total_steps) as advance:
        trainer = lightning.Trainer(
            accelerator=accelerator,
            devices=1,
            max_epochs=epochs,
            callbacks=[_Progress(advance)],
            gradient_clip_val=_GRADIENT_NORM,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, datamodule=data)


class _Progress(lightning.Callback):
    """Advances a bar by one for each batch."""

    def __init__(self, advance: Advance) -> None:
        self.advance = advance

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Called by Lightning."""
        self.advance(1)


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning announces devices and tips at the level of information; its warnings still come through.

    All but one: Lightning should build the leaves of a tree with torch's ``treespec_leaf``, but calls the deprecated
    ``LeafSpec``, and torch warns in every run: https://github.com/Lightning-AI/pytorch-lightning/issues/21326
    """
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*LeafSpec.* is deprecated", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)
