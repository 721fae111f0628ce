import math

import pytest
import torch

from motivnet.config import ModelConfig
from motivnet_training.initialisation import fresh_model
from motivnet_training.learning_rate import (
    cosine_factor,
    optimizer_from_recipe,
    scheduler_from_recipe,
)
from motivnet_training.recipe import RECIPES, TrainingRecipe, changed

SMALL = ModelConfig.named("tiny", image_size=(64, 48))


def test_the_papers_optimiser_has_a_group_for_each_part() -> None:
    model = fresh_model(SMALL, seed=0)
    optimizer = optimizer_from_recipe(model, RECIPES["paper"])
    assert isinstance(optimizer, torch.optim.AdamW)
    found = [
        (group["name"], group["lr"], group["weight_decay"], len(group["params"]))
        for group in optimizer.param_groups
    ]
    parts = (model.encoder, model.decoder)
    counts = [len(list(part.parameters())) for part in parts]
    assert found == [("encoder", 1e-8, 0.01, counts[0]), ("decoder", 1e-5, 0.01, counts[1])]


def test_from_scratch_vectors_do_not_decay() -> None:
    model = fresh_model(SMALL, seed=0)
    recipe = changed(RECIPES["scratch"], encoder_lr=1e-4, decoder_lr=1e-2)
    of = {
        id(p): group
        for group in optimizer_from_recipe(model, recipe).param_groups
        for p in group["params"]
    }
    assert len(of) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        group = of[id(parameter)]
        assert group["lr"] == (1e-4 if name.startswith("encoder") else 1e-2)
        assert (group["weight_decay"] == 0) is (parameter.ndim < 2)


def test_a_frozen_encoder_is_not_optimised() -> None:
    model = fresh_model(SMALL, seed=0)
    (group,) = optimizer_from_recipe(model, RECIPES["fast"]).param_groups
    assert {id(parameter) for parameter in group["params"]} == {
        id(each) for each in model.decoder.parameters()
    }


def rates(recipe: TrainingRecipe, count: int) -> list[float]:
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=recipe.decoder_lr)
    scheduler, _ = scheduler_from_recipe(optimizer, recipe, total_steps=count)
    found = []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_the_papers_rates_restart_every_ten_epochs() -> None:
    expected = [1e-5 * 0.5 * (1 + math.cos(math.pi * (epoch % 10) / 10)) for epoch in range(30)]
    assert rates(RECIPES["paper"], 30) == pytest.approx(expected, rel=1e-12)


def test_the_restarts_can_become_rarer() -> None:
    found = rates(changed(RECIPES["paper"], restart_epochs=2, restart_factor=2), 14)
    assert [epoch for epoch, rate in enumerate(found) if rate == 1e-5] == [0, 2, 6]


def test_from_scratch_the_rate_rises_then_falls_to_zero() -> None:
    factors = [cosine_factor(step, total=100, warmup=0.1) for step in range(101)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == 1
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(0)
    assert rates(changed(RECIPES["scratch"], warmup=0.1), 100) == pytest.approx(
        [1e-3 * each for each in factors[:100]]
    )
