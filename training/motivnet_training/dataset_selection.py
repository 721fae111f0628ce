"""The images of a dataset that a training recipe chooses."""

from __future__ import annotations

from pathlib import Path

from motivnet.datasets.read import read_dataset
from motivnet.datasets.sample import Dataset
from motivnet.datasets.split import Split, split_dataset
from motivnet_training.recipe import TrainingRecipe


def read_split(
    path: Path,
    recipe: TrainingRecipe,
    *,
    labels: tuple[str, ...],
    seed: int,
    allow_outside: bool = False,
) -> tuple[Dataset, Split]:
    """A dataset, and the images that the recipe trains on, validates on and tests on."""
    dataset = read_dataset(path, labels=labels, check=False, allow_outside=allow_outside)
    split = split_dataset(
        dataset,
        seed=seed,
        validation_share=recipe.validation_share,
        stratified=recipe.stratified,
        per_class=recipe.per_class,
    )
    return dataset, split
