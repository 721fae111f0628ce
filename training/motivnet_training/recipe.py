"""How a MotivNet is trained: the recipe of the paper, a fast one, and one from scratch."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from motivnet.errors import ConfigError
from motivnet.printable import printable
from motivnet.schema import Schema, SchemaError, convert

RecipeName = Literal["paper", "fast", "scratch"]
Schedule = Literal["warm-restarts", "cosine"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Augmentations = Literal["none", "mirror", "strong"]

_Count = Annotated[int, Meta(ge=1)]
_Share = Annotated[float, Meta(ge=0, lt=1)]
_AboveZero = Meta(gt=0, lt=1)


class TrainingRecipe(Schema, frozen=True, kw_only=True):
    """What decides the resulting weights besides model, encoder, data, seed and processes.

    Args:
        encoder_lr: Learning rate of the encoder; 0 freezes it.
        lr_schedule: ``warm-restarts`` is cosine annealing with warm restarts by epoch (Loshchilov &
            Hutter 2017) with ``restart_epochs`` and ``restart_factor`` (T_0 and T_mult); ``cosine``
            rises over ``warmup``, a share of all steps, and falls along half a cosine to zero.
        decay_vectors: Whether weight decay also shrinks norms, biases and other vectors.
        per_class: Images drawn per class without replacement; ``smallest`` is as many as the
            smallest class has, None all of them.
        stratified: Whether the validation split has the same share of each class.
        gradient_norm: Gradients are scaled down to this norm; None leaves them.
        patience: Epochs without a lower validation loss after which training stops early; None
            trains all epochs.
        cached: Whether the frozen encoder's tokens are computed once and kept on disk, with
            ``mirror`` those of the mirrored images too.
        needs_encoder: Whether the recipe makes no sense on random weights.
    """

    name: str
    epochs: _Count = 30
    batch_size: _Count = 2
    accumulate: _Count = 8
    encoder_lr: _Share = 1e-8
    decoder_lr: Annotated[float, _AboveZero] = 1e-5
    weight_decay: _Share = 0.01
    decay_vectors: bool = True
    lr_schedule: Schedule = "warm-restarts"
    restart_epochs: _Count = 10
    restart_factor: _Count = 1
    warmup: _Share = 0.0
    label_smoothing: _Share = 0.0
    class_weights: bool = False
    augmentations: Augmentations = "none"
    per_class: _Count | Literal["smallest"] | None = "smallest"
    validation_share: Annotated[float, _AboveZero] = 0.1
    stratified: bool = False
    gradient_norm: Annotated[float, Meta(gt=0)] | None = None
    patience: _Count | None = None
    precision: Precision = "32-true"
    gradient_checkpointing: bool = False
    compile: bool = False
    cached: bool = False
    needs_encoder: bool = True

    def __post_init__(self) -> None:
        if self.cached and not self.is_frozen:
            raise ConfigError("only tokens of a frozen encoder can be cached: set encoder_lr to 0")
        if self.cached and self.augmentations == "strong":
            raise ConfigError(
                "cached tokens can be mirrored, and not augmented in other ways: set augmentations "
                "to none or mirror"
            )

    @property
    def is_frozen(self) -> bool:
        """Whether the encoder is not trained."""
        return self.encoder_lr == 0


RECIPES: dict[str, TrainingRecipe] = {
    "paper": TrainingRecipe(name="paper"),
    "fast": TrainingRecipe(name="fast", encoder_lr=0.0, batch_size=16, accumulate=1, cached=True),
    "scratch": TrainingRecipe(
        name="scratch",
        needs_encoder=False,
        epochs=120,
        batch_size=64,
        accumulate=1,
        encoder_lr=1e-3,
        decoder_lr=1e-3,
        weight_decay=0.05,
        decay_vectors=False,
        lr_schedule="cosine",
        warmup=0.05,
        label_smoothing=0.05,
        augmentations="strong",
        per_class=None,
        stratified=True,
        gradient_norm=1.0,
    ),
}
"""``paper`` is MotivNet's; ``fast`` freezes the encoder, which a rate of 1e-8 hardly moves, and
caches its tokens; ``scratch`` is for random weights."""


def get_recipe(name: str) -> TrainingRecipe:
    """Return one of ``RECIPES``.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in RECIPES:
        shown = printable(repr(name), limit=60)
        raise ConfigError(f"no training recipe is called {shown}; choose {', '.join(RECIPES)}")
    return RECIPES[name]


def change_recipe(recipe: TrainingRecipe, **values: object) -> TrainingRecipe:
    """Return the recipe with these values.

    Raises:
        ConfigError: If a value does not fit.
    """
    try:
        return convert(msgspec.to_builtins(recipe) | values, TrainingRecipe)
    except SchemaError as error:
        raise ConfigError(f"the training recipe does not fit: {error}") from error
