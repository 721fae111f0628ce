from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from motivnet.config import ModelConfig
from motivnet.datasets.sample import GreyPixels, Sample
from motivnet.errors import DatasetError, FileError
from motivnet.labels import EMOTIONS
from motivnet.preprocess import InputRecipe
from motivnet.synthetic import draw_face
from motivnet_training import inputs as inputs_module
from motivnet_training.batch_sampler import AS_IT_IS
from motivnet_training.data import Batch, FaceData, LabelledInputs, labelled_inputs
from motivnet_training.devices import Hardware
from motivnet_training.epoch import EpochKeeper
from motivnet_training.initialisation import fresh_model
from motivnet_training.inputs import ImageInputs, MemoryPictures, SamplePictures, pictures_of
from motivnet_training.recipe import RECIPES, changed
from motivnet_training.session import Session, train

RECIPE = InputRecipe.named("stretch", size=(32, 32))


def sample(number: int, *, label: int = 0, distribution: tuple[float, ...] | None = None) -> Sample:
    grey = GreyPixels(data=bytes([number % 256]) * 64, size=(8, 8))
    return Sample(name=f"{number}", image=grey, label=label, distribution=distribution)


def inputs_of(count: int, *, augmentations="none", seed: int = 0) -> LabelledInputs:
    samples = tuple(sample(number, label=number % 7) for number in range(count))
    pictures = pictures_of(samples, RECIPE)
    return labelled_inputs(
        samples,
        ImageInputs(pictures=pictures, recipe=RECIPE, augmentations=augmentations, seed=seed),
        classes=7,
    )


def test_labels_become_distributions_and_votes_stay() -> None:
    votes = (0.0, 0.75, 0.0, 0.25, 0.0, 0.0, 0.0)
    samples = (sample(0, label=2), sample(1, label=1, distribution=votes))
    found = labelled_inputs(
        samples, ImageInputs(pictures=pictures_of(samples, RECIPE), recipe=RECIPE), classes=7
    )
    assert found.targets[0].tolist() == [0, 0, 1, 0, 0, 0, 0]
    assert found.targets[1].tolist() == list(votes)
    assert found.labels.tolist() == [2, 1]
    assert found.names == ("0", "1")


def test_no_image_at_all_is_refused() -> None:
    with pytest.raises(DatasetError, match="at least one image to train on and one to validate on"):
        labelled_inputs(
            (),
            ImageInputs(pictures=MemoryPictures(images=np.empty((0, 8, 8, 3))), recipe=RECIPE),
            classes=7,
        )


def test_a_batch_holds_what_the_recipe_gives() -> None:
    data = inputs_of(9)
    batch = data.__getitems__([(0, 3), (0, 8)])
    expected = [RECIPE(np.full((8, 8, 3), value, np.uint8)) for value in (3, 8)]
    assert np.array_equal(batch.inputs.numpy(), np.stack(expected))
    assert batch.indices.tolist() == [3, 8]
    assert batch.targets.argmax(dim=1).tolist() == [3, 1]


def test_only_training_images_are_augmented_and_by_their_epoch() -> None:
    face = draw_face("fear", seed=1, size=(32, 32))
    inputs = ImageInputs(
        pictures=MemoryPictures(images=np.stack([face] * 8)),
        recipe=RECIPE,
        augmentations="strong",
        seed=3,
    )
    plain = torch.from_numpy(RECIPE(face))
    keys = range(8)
    assert all(
        torch.equal(each, plain) for each in inputs.batch([(AS_IT_IS, index) for index in keys])
    )
    first, again, later = (inputs.batch([(epoch, index) for index in keys]) for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert torch.equal(inputs.batch([(0, 5)])[0], first[5])


def test_a_set_too_large_for_the_memory_is_decoded_anew_and_gives_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_memory = inputs_of(5)
    monkeypatch.setattr(inputs_module, "MEMORY_LIMIT", 0)
    on_demand = inputs_of(5)
    assert in_memory.inputs.in_memory
    assert not on_demand.inputs.in_memory
    keys = [(0, index) for index in range(5)]
    assert torch.equal(in_memory.inputs.batch(keys), on_demand.inputs.batch(keys))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_the_workers(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = batches(FaceData(inputs_of(9), inputs_of(5), batch_size=2, seed=4))
    monkeypatch.setattr(inputs_module, "MEMORY_LIMIT", 0)
    found = batches(FaceData(inputs_of(9), inputs_of(5), batch_size=2, seed=4, workers=workers))
    assert all(
        torch.equal(*pair)
        for one, other in zip(found, expected, strict=True)
        for pair in zip(one, other, strict=True)
    )


def batches(data: FaceData) -> list[Batch]:
    return [*data.train_dataloader(), *data.val_dataloader()]


def test_an_epoch_begins_where_it_is_told_to() -> None:
    data = FaceData(inputs_of(9), inputs_of(5), batch_size=2, seed=4)
    whole = [batch.indices.tolist() for batch in data.train_dataloader()]
    data.start = 3
    assert [batch.indices.tolist() for batch in data.train_dataloader()] == whole[3:]
    assert data.batches_of_an_epoch(world=1) == 5
    assert data.batches_of_an_epoch(world=2) == 3


def test_files_are_read_through_the_recipe(face_folder: Path) -> None:
    path = face_folder / "anger" / "1.png"
    pictures = SamplePictures(samples=(Sample(name="1", image=path, label=6),), recipe=RECIPE)
    assert pictures[0].shape == (32, 32, 3)
    assert not pictures.in_memory


def from_files(folder: Path, count: int) -> LabelledInputs:
    folder.mkdir()
    samples = tuple(
        Sample(name=f"{i}", image=folder / f"{i}.png", label=i % 7) for i in range(count)
    )
    for number, each in enumerate(samples):
        assert cv2.imwrite(
            str(each.image), draw_face(EMOTIONS[each.label], seed=number, size=(32, 32))
        )
    pictures = SamplePictures(samples=samples, recipe=RECIPE)
    return labelled_inputs(samples, ImageInputs(pictures=pictures, recipe=RECIPE), classes=7)


@pytest.mark.parametrize("missing", ["training", "validation"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_goes_away_during_a_training_is_one_line(
    tmp_path: Path, missing: str, workers: int
) -> None:
    config = ModelConfig.named("tiny", image_size=(32, 32))
    recipe = changed(RECIPES["scratch"], batch_size=7, epochs=1)
    training, validation = (from_files(tmp_path / name, 14) for name in ("training", "validation"))
    keeper = EpochKeeper(
        folder=None,
        recipe=recipe,
        config=config,
        labels=EMOTIONS[:7],
        preprocess=RECIPE,
        validation=validation,
        metadata={},
    )
    hardware = Hardware(accelerator="cpu", workers=workers)
    session = Session(
        model=fresh_model(config, seed=0),
        training=training,
        keeper=keeper,
        seed=0,
        hardware=hardware,
    )
    gone = tmp_path / missing / "5.png"
    gone.unlink()
    with pytest.raises(FileError) as caught:
        train(session)
    assert str(caught.value) == f"{gone} does not exist"
