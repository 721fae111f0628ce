from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from motivnet.config import ModelConfig
from motivnet.datasets.sample import RawPixels, Sample
from motivnet.errors import DatasetError, FileError
from motivnet.labels import EMOTIONS
from motivnet.preprocess import Preprocessing
from motivnet.synthetic import draw_face
from motivnet_training import data as data_module
from motivnet_training.batch_sampler import NOT_AUGMENTED, BatchSampler
from motivnet_training.data import (
    Batch,
    ImageInputs,
    LabelledInputs,
    decode_images,
    iterate_batches,
    label_inputs,
)
from motivnet_training.devices import Devices
from motivnet_training.loop import train
from motivnet_training.model import fresh_model
from motivnet_training.recipe import RECIPES, change_recipe
from motivnet_training.session import Session

PREPROCESSING = Preprocessing.named("stretch", size=(32, 32))


def sample(number: int, *, label: int = 0, distribution: tuple[float, ...] | None = None) -> Sample:
    grey = RawPixels(data=bytes([number % 256]) * 64, size=(8, 8))
    return Sample(name=f"{number}", image=grey, label=label, distribution=distribution)


def inputs_of(count: int, *, augmentations="none", seed: int = 0) -> LabelledInputs:
    samples = tuple(sample(number, label=number % 7) for number in range(count))
    inputs = ImageInputs(
        samples=samples,
        preprocess=PREPROCESSING,
        decoded=decode_images(samples, PREPROCESSING),
        augmentations=augmentations,
        seed=seed,
    )
    return label_inputs(samples, inputs, classes=7)


def test_labels_become_distributions_and_votes_stay() -> None:
    votes = (0.0, 0.75, 0.0, 0.25, 0.0, 0.0, 0.0)
    samples = (sample(0, label=2), sample(1, label=1, distribution=votes))
    found = label_inputs(samples, ImageInputs(samples=samples, preprocess=PREPROCESSING), classes=7)
    assert found.targets[0].tolist() == [0, 0, 1, 0, 0, 0, 0]
    assert found.targets[1].tolist() == list(votes)
    assert found.labels.tolist() == [2, 1]
    assert found.names == ("0", "1")


def test_no_image_at_all_is_refused() -> None:
    with pytest.raises(DatasetError, match="at least one image to train on and one to validate on"):
        label_inputs((), ImageInputs(samples=(), preprocess=PREPROCESSING), classes=7)


def test_a_batch_holds_what_the_recipe_gives() -> None:
    data = inputs_of(9)
    batch = data.__getitems__([(0, 3), (0, 8)])
    expected = [PREPROCESSING(np.full((8, 8, 3), value, np.uint8)) for value in (3, 8)]
    assert np.array_equal(batch.inputs.numpy(), np.stack(expected))
    assert batch.indices.tolist() == [3, 8]
    assert batch.targets.argmax(dim=1).tolist() == [3, 1]


def test_only_training_images_are_augmented_and_by_their_epoch() -> None:
    face = draw_face("fear", seed=1, size=(32, 32))
    inputs = ImageInputs(
        samples=(),
        preprocess=PREPROCESSING,
        decoded=np.stack([face] * 8),
        augmentations="strong",
        seed=3,
    )
    plain = torch.from_numpy(PREPROCESSING(face))
    keys = range(8)
    assert all(
        torch.equal(each, plain)
        for each in inputs.batch([(NOT_AUGMENTED, index) for index in keys])
    )
    first, again, later = (inputs.batch([(epoch, index) for index in keys]) for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert torch.equal(inputs.batch([(0, 5)])[0], first[5])


def test_a_set_too_large_for_the_memory_is_decoded_in_each_epoch_and_gives_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_memory = inputs_of(5)
    monkeypatch.setattr(data_module, "MEMORY_LIMIT", 0)
    on_demand = inputs_of(5)
    assert in_memory.inputs.in_memory
    assert not on_demand.inputs.in_memory
    keys = [(0, index) for index in range(5)]
    assert torch.equal(in_memory.inputs.batch(keys), on_demand.inputs.batch(keys))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_the_workers(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = batches(inputs_of(9))
    monkeypatch.setattr(data_module, "MEMORY_LIMIT", 0)
    before = torch.get_rng_state()
    found = batches(inputs_of(9), workers=workers)
    assert torch.equal(torch.get_rng_state(), before), "nothing draws from the training's stream"
    assert all(
        torch.equal(*pair)
        for one, other in zip(found, expected, strict=True)
        for pair in zip(one[:2], other[:2], strict=True)  # the last is a teacher's answers
    )


def batches(data: LabelledInputs, *, workers: int = 0) -> list[Batch]:
    sampler = BatchSampler(count=len(data), batch_size=2, seed=4, epoch=1)
    return list(iterate_batches(data, sampler, workers=workers))


def test_files_are_preprocessed(face_folder: Path) -> None:
    sample = Sample(name="1", image=face_folder / "anger" / "1.png", label=6)
    inputs = ImageInputs(samples=(sample,), preprocess=PREPROCESSING)
    assert inputs.batch([(0, 0)]).shape == (1, 3, 32, 32)
    assert not inputs.in_memory


def from_files(folder: Path, count: int) -> LabelledInputs:
    folder.mkdir()
    samples = tuple(
        Sample(name=f"{i}", image=folder / f"{i}.png", label=i % 7) for i in range(count)
    )
    for number, each in enumerate(samples):
        assert cv2.imwrite(
            str(each.image), draw_face(EMOTIONS[each.label], seed=number, size=(32, 32))
        )
    return label_inputs(samples, ImageInputs(samples=samples, preprocess=PREPROCESSING), classes=7)


@pytest.mark.parametrize("missing", ["training", "validation"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_goes_away_during_a_training_is_one_line(
    tmp_path: Path, missing: str, workers: int
) -> None:
    config = ModelConfig.named("tiny", image_size=(32, 32))
    recipe = change_recipe(RECIPES["scratch"], batch_size=7, epochs=1)
    training, validation = (from_files(tmp_path / name, 14) for name in ("training", "validation"))
    session = Session(
        model=fresh_model(config, seed=0),
        config=config,
        recipe=recipe,
        labels=EMOTIONS[:7],
        preprocess=PREPROCESSING,
        training=training,
        validation=validation,
        devices=Devices(device="cpu", workers=workers),
    )
    gone = tmp_path / missing / "5.png"
    gone.unlink()
    with pytest.raises(FileError) as caught:
        train(session)
    assert str(caught.value) == f"{gone} does not exist"
