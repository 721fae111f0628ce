"""One training as a value, and the checkpoints that it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from torch import Tensor

from motivnet.checkpoints import save_model
from motivnet.config import ModelConfig
from motivnet.model import MotivNet
from motivnet.preprocess import Preprocessing
from motivnet_training.batch_sampler import batches_per_epoch, steps_per_epoch
from motivnet_training.data import LabelledInputs
from motivnet_training.devices import Devices
from motivnet_training.history import EpochMetrics
from motivnet_training.model import model_from_weights
from motivnet_training.recipe import TrainingRecipe
from motivnet_training.run_folder import RunFolder
from motivnet_training.student import DistillationLoss, Student


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What one training needs.

    Args:
        folder: Where checkpoints and logs are written; None writes nothing.
        metadata: What a checkpoint says about its making.
        loss: That of a student; None for the cross-entropy to the labels.
        validated_on: What the share that is called accuracy elsewhere is measured on, in words.
        checkpoint_seconds: Between two savings of the state inside an epoch.
        on_message: Called with a line about each epoch.
    """

    model: MotivNet | Student
    config: ModelConfig
    recipe: TrainingRecipe
    labels: tuple[str, ...]
    preprocess: Preprocessing
    training: LabelledInputs
    validation: LabelledInputs
    seed: int = 0
    devices: Devices = field(default_factory=Devices)
    folder: RunFolder | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    checkpoint_seconds: float = 600.0
    on_message: Callable[[str], None] = lambda _: None
    loss: DistillationLoss | None = None
    validated_on: str = "accuracy"

    @property
    def batches_per_epoch(self) -> int:
        """Training batches of each process."""
        batch_size, processes = self.recipe.batch_size, self.devices.processes
        return batches_per_epoch(len(self.training), batch_size, processes=processes)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training."""
        recipe, processes = self.recipe, self.devices.processes
        per_epoch = steps_per_epoch(
            len(self.training), recipe.batch_size, recipe.accumulate, processes=processes
        )
        return recipe.epochs * per_epoch


def write_checkpoint(
    session: Session, path: Path, weights: Mapping[str, Tensor], metrics: EpochMetrics
) -> None:
    """Write a model's weights with all that is needed to use them, whole or not at all.

    Raises:
        CheckpointError: If a weight is NaN or infinite.
        FileError: If it cannot be written.
    """
    values = msgspec.structs.asdict(metrics)
    texts = {name: "" if value is None else str(value) for name, value in values.items()}
    own = {name: each for name, each in weights.items() if not name.startswith("projection.")}
    save_model(
        model_from_weights(own, session.config),
        path,
        config=session.config,
        labels=session.labels,
        preprocessing=session.preprocess,
        metadata={**session.metadata, **texts},
    )
