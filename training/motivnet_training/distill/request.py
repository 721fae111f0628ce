"""What ``motivnet-train distill`` is asked for, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from motivnet.config import ModelConfig
from motivnet.errors import ConfigError
from motivnet_training.devices import Devices
from motivnet_training.recipe import TrainingRecipe, change_recipe, get_recipe
from motivnet_training.run_folder import RunFolder

VIEWS = 16
"""Per image. A student that meets every image in few views learns these and not the function
(Beyer et al. 2022, arXiv 2106.05237); each view costs the teacher one forward pass."""


def distillation_recipe(**changes: object) -> TrainingRecipe:
    """Return the recipe ``scratch`` for a student, with these values changed.

    The teacher's answers take the place of smoothed labels.

    Raises:
        ConfigError: If a value does not fit.
    """
    return change_recipe(get_recipe("scratch"), name="distill", label_smoothing=0.0, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillRequest:
    """What to teach to what student, from which images, how and where.

    Args:
        data: A folder of images, labelled or not, or any dataset that a training reads.
        config: Of the student.
        answers: Where the teacher's answers are kept, which several students of one teacher may
            share; ``answers`` in the run folder if None.
        views: Of each image that is learnt from.
    """

    teacher: Path
    data: Path
    out: Path
    config: ModelConfig
    recipe: TrainingRecipe = field(default_factory=distillation_recipe)
    views: int = VIEWS
    answers: Path | None = None
    seed: int = 0
    devices: Devices = field(default_factory=Devices)
    checkpoint_seconds: float = 600.0
    resume: bool = False
    allow_outside: bool = False

    def __post_init__(self) -> None:
        if self.views < 1:
            raise ConfigError(f"there must be at least one view per image, not {self.views}")
        if self.devices.processes > 1:
            raise ConfigError("a student is taught in one process: ask for one device")

    @property
    def folder(self) -> RunFolder:
        """Where everything is written."""
        return RunFolder(self.out)

    @property
    def student(self) -> Path:
        """The weights of the last epoch with the fidelity report."""
        return self.out / "student.safetensors"

    @property
    def answers_folder(self) -> Path:
        """Where the teacher's answers are kept."""
        return self.answers or self.out / "answers"
