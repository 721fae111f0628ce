"""How a MotivNet is trained, as a value: the paper's recipe, a fast one on a frozen encoder, and one from scratch."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, get_args

from motivnet.errors import ConfigError

Course = Literal["warm-restarts", "cosine"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Augmentations = Literal["none", "mirror", "strong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe:
    """What decides which weights come out, besides the model, its encoder, the data, the seed and
    the processes.

    Args:
        encoder_lr: Learning rate of the encoder; 0 freezes it.
        course: ``warm-restarts`` is cosine annealing with warm restarts by epoch (Loshchilov &
            Hutter 2017) with ``restart_epochs`` and ``restart_factor`` (T_0 and T_mult); ``cosine``
            rises over ``warmup``, a share of all steps, and falls along half a cosine to zero.
        decay_vectors: Whether weight decay also shrinks norms, biases and other vectors.
        per_class: Images drawn of each class without replacement; ``smallest`` is as many as the
            smallest class has, None all of them.
        stratified: Whether the part held out has the same share of each class.
        gradient_norm: Gradients are scaled down to it; None leaves them.
        patience: Epochs without a lower validation loss after which the training ends; None trains
        all epochs.
        cached: Whether the frozen encoder's tokens are computed once and kept on disk.
        needs_encoder: Whether it is senseless on random weights.
    """

    name: str
    epochs: int = 30
    batch_size: int = 2
    accumulate: int = 8
    encoder_lr: float = 1e-8
    decoder_lr: float = 1e-5
    weight_decay: float = 0.01
    decay_vectors: bool = True
    course: Course = "warm-restarts"
    restart_epochs: int = 10
    restart_factor: int = 1
    warmup: float = 0.0
    label_smoothing: float = 0.0
    class_weights: bool = False
    augmentations: Augmentations = "none"
    per_class: int | Literal["smallest"] | None = "smallest"
    validation_share: float = 0.1
    stratified: bool = False
    gradient_norm: float | None = None
    patience: int | None = None
    precision: Precision = "32-true"
    gradient_checkpointing: bool = False
    compile: bool = False
    cached: bool = False
    needs_encoder: bool = True

    def __post_init__(self) -> None:
        for name in (
            "epochs",
            "batch_size",
            "accumulate",
            "restart_epochs",
            "restart_factor",
            "patience",
            "per_class",
        ):
            value = getattr(self, name)
            _require(
                not isinstance(value, int) or value >= 1, f"{name} must be at least 1, not {value}"
            )
        _require(_is_rate(self.decoder_lr), _rate_message(self.decoder_lr))
        _require(self.encoder_lr == 0 or _is_rate(self.encoder_lr), _rate_message(self.encoder_lr))
        for name in ("warmup", "label_smoothing", "validation_share", "weight_decay"):
            value = getattr(self, name)
            _require(0 <= value < 1, f"{name} must be at least 0 and below 1, not {value}")
        _require(self.validation_share > 0, "validation_share must be above 0")
        norm = self.gradient_norm
        _require(
            norm is None or (math.isfinite(norm) and norm > 0),
            f"gradient_norm must be above 0, not {norm}",
        )
        self._check_choices()
        self._check_cached()

    @property
    def effective_batch(self) -> int:
        """Images behind one step of the optimiser in one process."""
        return self.batch_size * self.accumulate

    @property
    def is_frozen(self) -> bool:
        """Whether the encoder stays as it is."""
        return self.encoder_lr == 0

    def _check_choices(self) -> None:
        """A command and a file bring texts that no type checker sees."""
        choices = {"course": Course, "precision": Precision, "augmentations": Augmentations}
        for name, literal in choices.items():
            value, known = getattr(self, name), get_args(literal)
            _require(value in known, f"{name} must be one of {', '.join(known)}, not {value!r}")
        number = self.per_class
        is_known = number is None or number == "smallest" or isinstance(number, int)
        _require(is_known, f"per_class must be a number, smallest or null, not {number!r}")

    def _check_cached(self) -> None:
        if not self.cached:
            return
        _require(
            self.is_frozen, "tokens can be cached only of a frozen encoder: set encoder_lr to 0"
        )
        _require(
            self.augmentations == "none",
            "cached tokens cannot be augmented: set augmentations to none",
        )


def _is_rate(value: float) -> bool:
    return math.isfinite(value) and 0 < value < 1


def _rate_message(value: float) -> str:
    return f"a learning rate must be between 0 and 1, not {value}"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


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
        course="cosine",
        warmup=0.05,
        label_smoothing=0.05,
        augmentations="strong",
        per_class=None,
        stratified=True,
        gradient_norm=1.0,
    ),
}
"""``paper`` is that of MotivNet; ``fast`` is it with the encoder, which a rate of 1e-8 hardly
moves, frozen and its tokens cached; ``scratch`` is for random weights."""


def recipe_named(name: str) -> TrainingRecipe:
    """One of ``RECIPES``.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in RECIPES:
        raise ConfigError(f"no training recipe is called {name!r}; choose {', '.join(RECIPES)}")
    return RECIPES[name]


def changed(recipe: TrainingRecipe, **values: object) -> TrainingRecipe:
    """The recipe with the values that are not None in place of its own."""
    given = {name: value for name, value in values.items() if value is not None}
    return dataclasses.replace(recipe, **given)  # type: ignore[arg-type]
