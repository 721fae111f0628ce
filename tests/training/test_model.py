import math

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from motivnet.config import ModelConfig
from motivnet_training.model import fresh_model, learning_rates, optimizer_from_recipe
from motivnet_training.recipe import RECIPES, change_recipe

SMALL = ModelConfig.named("tiny", image_size=(64, 48))


def test_the_papers_optimizer_has_a_group_for_each_part() -> None:
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
    recipe = change_recipe(RECIPES["scratch"], encoder_lr=1e-4, decoder_lr=1e-2)
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


def test_a_frozen_encoder_is_not_optimized() -> None:
    model = fresh_model(SMALL, seed=0)
    (group,) = optimizer_from_recipe(model, RECIPES["fast"]).param_groups
    assert {id(parameter) for parameter in group["params"]} == {
        id(each) for each in model.decoder.parameters()
    }


def test_the_papers_rates_are_those_of_torchs_scheduler() -> None:
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1e-5)
    scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=10, T_mult=1)
    for epoch in range(30):
        rates = learning_rates(RECIPES["paper"], epoch=epoch, step=7 * epoch, total_steps=210)
        assert rates["decoder"] == optimizer.param_groups[0]["lr"]
        assert rates["decoder"] == pytest.approx(
            1e-5 * 0.5 * (1 + math.cos(math.pi * (epoch % 10) / 10)), rel=1e-12
        )
        assert rates["encoder"] == pytest.approx(rates["decoder"] / 1000, rel=1e-12)
        optimizer.step()
        scheduler.step()


def test_the_restarts_can_become_rarer() -> None:
    recipe = change_recipe(RECIPES["paper"], restart_epochs=2, restart_factor=2)
    rates = [learning_rates(recipe, epoch=n, step=n, total_steps=14) for n in range(14)]
    assert [epoch for epoch, rate in enumerate(rates) if rate["decoder"] == 1e-5] == [0, 2, 6]


def test_from_scratch_the_rate_rises_then_falls_to_zero() -> None:
    recipe = change_recipe(RECIPES["scratch"], warmup=0.1)
    rates = [
        learning_rates(recipe, epoch=0, step=step, total_steps=100)["decoder"] * 1000
        for step in range(101)
    ]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0)
