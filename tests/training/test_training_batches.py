from pathlib import Path

import numpy as np
import pytest
import torch

from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS
from motivnet.preprocess import InputRecipe
from motivnet_training import data as data_module
from motivnet_training.data import Batches, FaceDataModule, FileSamples, MemorySamples, samples_from_files

LABELS = EMOTIONS[:7]
RECIPE = InputRecipe.named("stretch", size=(64, 48))


def samples(count: int = 10, *, targets: int = 7) -> MemorySamples:
    rng = np.random.default_rng(0)
    return MemorySamples(
        images=rng.integers(0, 256, (count, 64, 48, 3), np.uint8), targets=np.arange(count, dtype=np.int64) % targets
    )


def faces(training: MemorySamples, validation: MemorySamples) -> FaceDataModule:
    return FaceDataModule(training, validation, recipe=RECIPE, batch_size=7, seed=0)


def batches(**changes: object) -> Batches:
    values = {"samples": samples(), "recipe": RECIPE, "batch_size": 4, "shuffle": True, "seed": 3, "epoch": 0} | changes
    return Batches(**values)


def test_an_epoch_holds_every_sample_once() -> None:
    targets = [target for _, batch in batches() for target in batch.tolist()]
    assert len(batches()) == 3
    assert sorted(targets) == sorted(samples().targets.tolist())
    assert targets != samples().targets.tolist()


def test_validation_is_in_order_and_not_mirrored() -> None:
    images = torch.cat([images for images, _ in batches(shuffle=False)])
    np.testing.assert_array_equal(images.numpy(), RECIPE.normalise(samples().images))


def test_training_mirrors_about_half_of_the_images() -> None:
    many = samples(200)
    known = {image.tobytes(): False for image in RECIPE.normalise(many.images)}
    known |= {image.tobytes(): True for image in RECIPE.normalise(many.images[:, :, ::-1])}
    mirrored = [known[image.numpy().tobytes()] for images, _ in batches(samples=many) for image in images]
    assert 60 < sum(mirrored) < 140


@pytest.mark.parametrize(("changes", "same"), [({}, True), ({"seed": 4}, False), ({"epoch": 1}, False)])
def test_the_order_follows_seed_and_epoch(changes: dict[str, int], same: bool) -> None:
    first = torch.cat([images for images, _ in batches()])
    again = torch.cat([images for images, _ in batches(**changes)])
    assert torch.equal(first, again) is same


def test_files_that_do_not_fit_into_memory_are_decoded_on_demand(
    face_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [(face_folder / emotion / "0.png", index) for index, emotion in enumerate(LABELS)]
    kept = samples_from_files(files, recipe=RECIPE)
    monkeypatch.setattr(data_module, "MEMORY_LIMIT", 1000)
    decoded = samples_from_files(files, recipe=RECIPE)
    assert isinstance(kept, MemorySamples)
    assert isinstance(decoded, FileSamples)
    chosen = np.array([5, 0, 5])
    np.testing.assert_array_equal(kept.pixels(chosen), decoded.pixels(chosen))


def test_an_empty_part_is_refused() -> None:
    with pytest.raises(DatasetError, match="at least one image"):
        faces(samples(), samples(0))
