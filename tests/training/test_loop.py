"""The training loop: what is learnt, measured and kept in each epoch."""

import logging
import math
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from motivnet.checkpoints import load_model
from motivnet.config import ModelConfig
from motivnet.errors import TrainingError, TrainingStoppedError
from motivnet.labels import EMOTIONS
from motivnet.preprocess import Preprocessing
from motivnet_training.batch_sampler import Key
from motivnet_training.data import ImageInputs, LabelledInputs
from motivnet_training.devices import Devices
from motivnet_training.history import EpochMetrics, csv_from_history, validation_metrics
from motivnet_training.loop import train
from motivnet_training.model import class_weights, fresh_model
from motivnet_training.non_finite import all_finite
from motivnet_training.recipe import RECIPES, TrainingRecipe, change_recipe
from motivnet_training.run_folder import RunFolder
from motivnet_training.session import Session, write_checkpoint

SMALL = ModelConfig.named("tiny", image_size=(32, 32))
PREPROCESSING = Preprocessing.named("stretch", size=(32, 32))
PLAIN = change_recipe(RECIPES["scratch"], augmentations="none", batch_size=7, epochs=1)


def images(count: int, *, soft: bool = False, seed: int = 0) -> LabelledInputs:
    rng = np.random.default_rng(seed)
    targets = torch.eye(7)[torch.arange(count) % 7]
    if soft:
        targets = torch.from_numpy(rng.dirichlet(np.ones(7), count).astype(np.float32))
    pixels = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
    inputs = ImageInputs(samples=(), preprocess=PREPROCESSING, decoded=pixels)
    names = tuple(f"image {number}" for number in range(count))
    return LabelledInputs(inputs=inputs, targets=targets, names=names)


def session(
    training: LabelledInputs,
    validation: LabelledInputs,
    recipe: TrainingRecipe = PLAIN,
    **values: object,
) -> Session:
    usual = {"model": fresh_model(SMALL, seed=0), "devices": Devices(device="cpu")}
    return Session(
        training=training,
        validation=validation,
        recipe=recipe,
        config=SMALL,
        labels=EMOTIONS[:7],
        preprocess=PREPROCESSING,
        **(usual | values),  # type: ignore[arg-type]
    )


def test_a_few_images_are_learnt_by_heart() -> None:
    few = images(14)
    last = train(session(few, few, change_recipe(PLAIN, epochs=30))).history[-1]
    assert last.accuracy == 1.0
    assert last.val_loss < 0.3


def test_the_figures_are_those_of_the_model_over_all_validation_images() -> None:
    held_out = images(23, seed=1)
    ended = session(images(10), held_out)
    last = train(ended).history[-1]
    with torch.no_grad():
        logits = ended.model(held_out.inputs.batch([(-1, index) for index in range(23)]))
    targets = held_out.targets.argmax(dim=1)
    assert last.accuracy == int((logits.argmax(1) == targets).sum()) / 23
    assert last.val_loss == pytest.approx(
        functional.cross_entropy(logits, targets).item(), rel=1e-5
    )


def test_soft_labels_train_and_validate_with_their_cross_entropy() -> None:
    soft = images(7, soft=True)
    recipe = change_recipe(
        PLAIN, label_smoothing=0.0, decoder_lr=1e-9, encoder_lr=1e-9, weight_decay=0.0
    )
    ended = session(soft, soft, recipe)
    with torch.no_grad():
        logits = ended.model(soft.inputs.batch([(-1, index) for index in range(7)]))
    expected = -(soft.targets * logits.log_softmax(dim=1)).sum(dim=1).mean().item()
    last = train(ended).history[-1]
    assert last.train_loss == pytest.approx(expected, rel=1e-5)
    assert last.val_loss == pytest.approx(expected, rel=1e-5)


def test_the_paper_recipe_has_the_papers_rates_in_every_epoch_and_steps_of_sixteen_images() -> None:
    history = train(
        session(images(32), images(7), change_recipe(RECIPES["paper"], epochs=13))
    ).history
    schedule = [0.5 * (1 + math.cos(math.pi * (epoch % 10) / 10)) for epoch in range(13)]
    assert [each.encoder_lr for each in history] == pytest.approx(
        [1e-8 * each for each in schedule], rel=1e-9
    )
    assert [each.decoder_lr for each in history] == pytest.approx(
        [1e-5 * each for each in schedule], rel=1e-9
    )
    assert [each.steps for each in history] == [2 * epoch for epoch in range(1, 14)]
    assert [each.epoch for each in history] == list(range(1, 14))


def test_accumulated_batches_step_as_one_large_batch_does() -> None:
    losses = []
    for batch_size, accumulate in ((8, 1), (2, 4)):
        recipe = change_recipe(PLAIN, batch_size=batch_size, accumulate=accumulate, epochs=3)
        history = train(session(images(16), images(7), recipe)).history
        losses.append([each.val_loss for each in history])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_a_frozen_encoder_stays_and_its_head_learns() -> None:
    model = fresh_model(SMALL, seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train(session(images(14), images(7), change_recipe(PLAIN, encoder_lr=0.0), model=model))
    same = {
        name for name, tensor in model.state_dict().items() if torch.equal(tensor, before[name])
    }
    assert same == {name for name in before if name.startswith("encoder.")}


@pytest.mark.parametrize("change", [{"gradient_checkpointing": True}, {"precision": "bf16-mixed"}])
def test_saving_memory_changes_no_more_than_rounding(change: dict[str, object]) -> None:
    recipes = (PLAIN, change_recipe(PLAIN, **change))
    losses = [
        train(session(images(14), images(7), recipe)).history[-1].train_loss for recipe in recipes
    ]
    assert losses[1] == pytest.approx(
        losses[0], rel=1e-6 if "gradient_checkpointing" in change else 2e-2
    )


def test_rare_classes_weigh_more_and_the_mean_weight_of_an_image_is_one() -> None:
    targets = torch.eye(7)[torch.tensor([0] * 6 + [1] * 3 + [2] * 3)]
    training = LabelledInputs(
        inputs=images(12).inputs, targets=targets, names=tuple("abcdefghijkl")
    )
    weights = class_weights(training.targets)
    assert weights[1] == 2 * weights[0]
    assert (weights * targets.sum(dim=0)).sum().item() / 12 == pytest.approx(1)
    assert weights[3:].tolist() == [0] * 4


def test_class_weights_reach_the_loss() -> None:
    uneven = images(14)
    uneven = LabelledInputs(
        inputs=uneven.inputs,
        targets=torch.eye(7)[torch.tensor([0] * 8 + [1, 2, 3, 4, 5, 6])],
        names=uneven.names,
    )
    losses = [
        train(session(uneven, uneven, change_recipe(PLAIN, class_weights=weighted)))
        .history[-1]
        .train_loss
        for weighted in (False, True)
    ]
    assert losses[0] != losses[1]


def test_patience_ends_a_training_that_does_not_improve() -> None:
    recipe = change_recipe(
        PLAIN, epochs=20, patience=2, encoder_lr=0.9, decoder_lr=0.9, lr_schedule="warm-restarts"
    )
    history = train(session(images(14), images(7, seed=3), recipe)).history
    best = min(history, key=lambda each: each.val_loss).epoch
    assert len(history) == best + 2 < 20


def test_without_a_folder_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    few = images(14)
    train(session(few, few, change_recipe(PLAIN, epochs=2), checkpoint_seconds=0.0))
    assert not list(tmp_path.iterdir())


def test_a_training_without_a_folder_that_is_stopped_says_that_nothing_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = change_recipe(PLAIN, epochs=2)
    asked = session(
        images(14), images(7), recipe, on_message=lambda _: signal.raise_signal(signal.SIGTERM)
    )
    with pytest.raises(TrainingStoppedError, match=r"in epoch 2, step 3: nothing was written$"):
        train(asked)
    assert not list(tmp_path.iterdir())


def test_each_epoch_is_a_message() -> None:
    lines: list[str] = []
    train(session(images(14), images(7), change_recipe(PLAIN, epochs=2), on_message=lines.append))
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "validation loss" in lines[0]


def test_a_loss_that_is_not_finite_stops_the_training_and_names_the_images() -> None:
    model = fresh_model(SMALL, seed=0)
    with torch.no_grad():
        model.decoder.group_bias[0] = math.inf
    with pytest.raises(
        TrainingError,
        match=r"the loss became nan in epoch 1, in the step with image \d+, .*; lower the",
    ):
        train(session(images(10), images(7), model=model))


def test_lightnings_logger_keeps_its_level() -> None:
    logger = logging.getLogger("lightning_fabric")
    before = logger.level
    train(session(images(10), images(7)))
    assert logger.level == before


def test_the_table_of_epochs_has_a_row_for_each(tmp_path: Path) -> None:
    history = train(session(images(14), images(7), change_recipe(PLAIN, epochs=2))).history
    lines = csv_from_history(history).splitlines()
    assert lines[0].startswith(
        "epoch,steps,encoder_lr,decoder_lr,train_loss,val_loss,accuracy,uar,"
    )
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 5, 999])
def test_one_number_that_is_not_finite_is_seen_among_many(value: float, place: int) -> None:
    tensors = [torch.zeros(10), torch.ones(1000), torch.zeros(3, dtype=torch.int64)]
    assert all_finite(tensors)
    tensors[1][place] = value
    assert not all_finite(tensors)


def test_large_numbers_are_finite() -> None:
    assert all_finite([torch.full((1000,), 3e38)])
    assert all_finite([])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_logit_that_is_not_finite_is_refused_with_its_images_name(value: float) -> None:
    logits = np.zeros((14, 7))
    logits[3, 6] = value
    with pytest.raises(
        TrainingError, match=r"NaN or infinity for the validation images image 3; lower the learn"
    ):
        validation_metrics(images(14), logits, EMOTIONS[:7])


def test_of_many_images_eight_are_named() -> None:
    logits = np.full((14, 7), math.nan)
    with pytest.raises(TrainingError) as raised:
        validation_metrics(images(14), logits, EMOTIONS[:7])
    assert ", ".join(f"image {n}" for n in range(8)) + " and 6 more;" in str(raised.value)
    assert "\n" not in str(raised.value)


@dataclass(frozen=True)
class Noise:
    """Inputs drawn by index; those of the images in ``spoilt`` hold a number that is not finite."""

    spoilt: tuple[int, ...] = ()
    value: float = math.nan

    @property
    def in_memory(self) -> bool:
        return True

    def batch(self, keys: Sequence[Key]) -> Tensor:
        images = [
            torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(index))
            for _, index in keys
        ]
        for image, (_, index) in zip(images, keys, strict=True):
            image[0, 0, 0] = self.value if index in self.spoilt else image[0, 0, 0]
        return torch.stack(images)


def noise(count: int, inputs: Noise) -> LabelledInputs:
    targets = torch.eye(7)[torch.arange(count) % 7]
    names = tuple(f"{n}.png" for n in range(count))
    return LabelledInputs(inputs=inputs, targets=targets, names=names)


def test_a_validation_that_is_not_finite_ends_the_training_and_nothing_of_it_is_kept(
    tmp_path: Path,
) -> None:
    folder = RunFolder(tmp_path)
    spoilt = session(noise(14, Noise()), noise(7, Noise(spoilt=(2, 5))), folder=folder)
    with pytest.raises(TrainingError, match=r"for the validation images 2\.png, 5\.png;"):
        train(spoilt)
    assert not folder.best.exists()
    assert not folder.resume.exists()


def test_a_checkpoint_has_the_weights_that_it_is_given(tmp_path: Path) -> None:
    model, path = fresh_model(SMALL, seed=3), tmp_path / "best.safetensors"
    metrics = EpochMetrics(
        epoch=1,
        steps=2,
        encoder_lr=0.0,
        decoder_lr=0.1,
        train_loss=1.0,
        val_loss=1.0,
        accuracy=0.5,
        uar=0.5,
        macro_f1=0.5,
        macro_precision=0.5,
        auroc=None,
    )
    write_checkpoint(session(images(7), images(7)), path, model.state_dict(), metrics)
    written = load_model(path).state_dict()
    assert all(torch.equal(tensor, written[name]) for name, tensor in model.state_dict().items())
