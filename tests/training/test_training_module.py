import logging
import math

import numpy as np
import pytest
import torch

from motivnet.config import ModelConfig
from motivnet.errors import ConfigError, TrainingError
from motivnet.preprocess import InputRecipe
from motivnet_training.data import FaceDataModule, MemorySamples
from motivnet_training.initialisation import fresh_model
from motivnet_training.module import EmotionModule, Schedule
from motivnet_training.train import TrainingOptions
from motivnet_training.trainer import run_training

SMALL = ModelConfig.named("tiny", image_size=(64, 48))
RECIPE = InputRecipe.named("stretch", size=(64, 48))


def samples(count: int = 10, *, targets: int = 7) -> MemorySamples:
    rng = np.random.default_rng(0)
    return MemorySamples(
        images=rng.integers(0, 256, (count, 64, 48, 3), np.uint8), targets=np.arange(count, dtype=np.int64) % targets
    )


def faces(training: MemorySamples, validation: MemorySamples) -> FaceDataModule:
    return FaceDataModule(training, validation, recipe=RECIPE, batch_size=7, seed=0)


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    factors = [Schedule(warmup=0.1).factor(step, 100) for step in range(101)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == 1
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(0)


def test_encoder_and_head_learn_at_their_own_rates_and_vectors_do_not_decay() -> None:
    model = fresh_model(SMALL, seed=0)
    module = EmotionModule(model, schedule=Schedule(encoder_lr=1e-4, decoder_lr=1e-2, warmup=0), total_steps=9)
    groups = module.configure_optimizers()["optimizer"].param_groups
    of = {id(parameter): group for group in groups for parameter in group["params"]}
    assert len(of) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        group = of[id(parameter)]
        assert group["initial_lr"] == (1e-4 if name.startswith("encoder") else 1e-2)
        assert (group["weight_decay"] == 0) is (parameter.ndim < 2)


@pytest.mark.parametrize("rate", [0.0, -1e-3, math.nan, math.inf, 1.0])
def test_a_senseless_learning_rate_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="a learning rate must be between 0 and 1"):
        Schedule(encoder_lr=rate)


@pytest.mark.parametrize("values", [{"epochs": 0}, {"epochs": 1, "batch_size": 0}, {"epochs": 1, "seed": -1}])
def test_senseless_options_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be at least 1"):
        TrainingOptions(**values)


def test_a_few_images_are_learnt_by_heart() -> None:
    few = samples(14)
    module = EmotionModule(fresh_model(SMALL, seed=0), schedule=Schedule(), total_steps=60)
    run_training(module, faces(few, few), epochs=30, accelerator="cpu")
    assert module.accuracy == 1.0
    assert module.loss < 0.3


def test_the_accuracy_is_that_of_the_model_over_all_validation_images() -> None:
    held_out = samples(23)
    module = EmotionModule(fresh_model(SMALL, seed=0), schedule=Schedule(), total_steps=3)
    run_training(module, faces(samples(), held_out), epochs=1, accelerator="cpu")
    with torch.no_grad():
        logits = module.model.eval()(torch.from_numpy(RECIPE.normalise(held_out.images)))
    targets = torch.from_numpy(held_out.targets)
    assert module.accuracy == int((logits.argmax(1) == targets).sum()) / 23
    assert module.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, targets).item(), rel=1e-4)


def test_a_loss_that_is_not_finite_stops_the_training_in_its_step() -> None:
    model = fresh_model(SMALL, seed=0)
    with torch.no_grad():
        model.decoder.group_bias[0] = math.inf
    module = EmotionModule(model, schedule=Schedule(), total_steps=3)
    with pytest.raises(TrainingError, match="the loss became nan in epoch 1, batch 1; lower the learning rate"):
        run_training(
            module,
            faces(samples(), samples()),
            epochs=1,
            accelerator="cpu",
        )


def test_lightnings_logger_keeps_its_level() -> None:
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    module = EmotionModule(fresh_model(SMALL, seed=0), schedule=Schedule(), total_steps=3)
    run_training(module, faces(samples(), samples()), epochs=1, accelerator="cpu")
    assert logger.level == before
