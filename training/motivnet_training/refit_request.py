"""What ``motivnet-train refit`` is asked for, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from motivnet.errors import ConfigError
from motivnet_training.devices import Devices
from motivnet_training.kept_tokens import check_share
from motivnet_training.recipe import TrainingRecipe
from motivnet_training.run_folder import RunFolder

SUFFIX = ".safetensors"

ANSWERS = "answers"
"""Folder of the full model's answers, in that of the tokens."""

REFIT = TrainingRecipe(
    name="refit",
    epochs=10,
    batch_size=32,
    accumulate=1,
    encoder_lr=0.0,
    decoder_lr=1e-3,
    weight_decay=0.05,
    decay_vectors=False,
    lr_schedule="cosine",
    warmup=0.05,
    augmentations="mirror",
    per_class=None,
    stratified=True,
    gradient_norm=1.0,
    cached=True,
)
"""The head alone, gently, on tokens of the images and of their mirror images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitRequest:
    """Which model to make cheaper, how, and on which images its head is trained again.

    Args:
        checkpoint: The full model.
        out: The run folder; with the name of a ``.safetensors`` file the run folder has that name
            without its end, and the best weights are copied to the file.
        image_size: (height, width) of the model's input; None for that of the checkpoint.
        keep_tokens: The share of tokens to keep; None for those that the checkpoint keeps.
        unlabelled: Whether to learn from the full model's answers, whatever labels there are; a
            folder of images alone always is.
        preprocess: Its name, if it is not the checkpoint's.
        tokens: A folder for cached tokens and answers, which several refits may share; ``tokens``
            in the run folder if None.
    """

    checkpoint: Path
    data: Path
    out: Path
    image_size: tuple[int, int] | None = None
    keep_tokens: float | None = None
    unlabelled: bool = False
    preprocess: str | None = None
    recipe: TrainingRecipe = REFIT
    tokens: Path | None = None
    devices: Devices = field(default_factory=Devices)
    seed: int = 0
    resume: bool = False
    allow_outside: bool = False

    def __post_init__(self) -> None:
        if self.keep_tokens is not None:
            check_share(self.keep_tokens)
        if self.devices.processes > 1:
            raise ConfigError("a refit is trained by one process; leave --devices and --nodes out")

    @property
    def answers_folder(self) -> Path:
        """Where the full model's answers are kept, beside the tokens."""
        return (self.tokens or self.folder.tokens) / ANSWERS

    @property
    def folder(self) -> RunFolder:
        """Where the training is written."""
        is_file = self.out.suffix == SUFFIX
        return RunFolder(self.out.with_suffix("") if is_file else self.out)
