"""The end of an epoch: its figures, and the best weights so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from motivnet.checkpoints import save_model
from motivnet.checkpoints.weights import listed
from motivnet.config import ModelConfig
from motivnet.errors import TrainingError
from motivnet.metrics import ClassificationFigures, classification_figures, cross_entropy
from motivnet.model import MotivNet, build_model
from motivnet.prediction import softmax
from motivnet.preprocess import InputRecipe
from motivnet_training.data import LabelledInputs
from motivnet_training.finite import ADVICE
from motivnet_training.history import EpochFigures
from motivnet_training.recipe import TrainingRecipe
from motivnet_training.run_folder import RunFolder
from motivnet_training.state import Position

_MODEL = "model."


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochKeeper:
    """What is needed to judge an epoch and to write its weights; without a folder nothing is
    written.

    ``metadata`` is what a checkpoint says of its making.
    """

    folder: RunFolder | None
    recipe: TrainingRecipe
    config: ModelConfig
    labels: tuple[str, ...]
    preprocess: InputRecipe
    validation: LabelledInputs
    metadata: Mapping[str, str]

    def figures(self, logits: NDArray[np.float64]) -> ClassificationFigures:
        """All figures of the validation images from their logits ``(N, classes)``.

        Raises:
            TrainingError: Naming the images with a logit that is NaN or infinite.
        """
        finite = np.isfinite(logits).all(axis=1)
        if not finite.all():
            bad = listed(self.validation.names[index] for index in np.flatnonzero(~finite))
            raise TrainingError(
                f"the model gives NaN or infinity for the validation images {bad}; {ADVICE}"
            )
        probabilities = softmax(logits.astype(np.float32))
        loss = cross_entropy(self.validation.targets.double().numpy(), probabilities)
        return classification_figures(self.validation.labels, probabilities, self.labels, loss=loss)

    def keep_best(self, state: Mapping[str, Tensor], figures: EpochFigures) -> None:
        """Writes the best weights, those in the state dict of an ``EmotionModule``, if there is a folder."""
        if self.folder is not None:
            self.write(self.folder.best, model_from_state(state, self.config), figures)

    def write(self, path: Path, model: MotivNet, figures: EpochFigures) -> None:
        """A checkpoint of a model, whole or not at all.

        Raises:
            CheckpointError: If a weight is NaN or infinite.
            FileError: If it cannot be written.
        """
        save_model(
            model,
            path,
            config=self.config,
            labels=self.labels,
            recipe=self.preprocess,
            metadata={**self.metadata, **_texts(figures)},
        )


def epoch_figures(position: Position, validation: ClassificationFigures) -> EpochFigures:
    """The figures of an epoch at its last step."""
    return EpochFigures(
        epoch=position.epoch + 1,
        steps=position.steps,
        encoder_lr=position.encoder_lr,
        decoder_lr=position.decoder_lr,
        train_loss=position.loss_sum / max(1, position.loss_count),
        val_loss=validation.loss,
        accuracy=validation.accuracy,
        uar=validation.uar,
        macro_f1=validation.macro_f1,
        macro_precision=validation.macro_precision,
        auroc=validation.auroc,
    )


def model_from_state(state: Mapping[str, Tensor], config: ModelConfig) -> MotivNet:
    """The model in the state dict of an ``EmotionModule``, which shares its memory where that is the CPU's."""
    model = build_model(config, seed=None)
    model.load_state_dict(
        {name.removeprefix(_MODEL): tensor.cpu() for name, tensor in state.items()}, assign=True
    )
    return model


def _texts(figures: EpochFigures) -> dict[str, str]:
    return {
        name: "" if value is None else str(value)
        for name, value in dataclasses.asdict(figures).items()
    }
