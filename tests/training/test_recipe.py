import math
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from motivnet.errors import ConfigError, FileError, MotivNetError
from motivnet_training.recipe import RECIPES, TrainingRecipe, change_recipe, get_recipe
from motivnet_training.recipe_file import recipe_from_file, yaml_from_recipe


def test_the_paper_recipe_is_that_of_the_paper() -> None:
    recipe = get_recipe("paper")
    assert (recipe.epochs, recipe.batch_size, recipe.accumulate) == (30, 2, 8)
    assert (recipe.encoder_lr, recipe.decoder_lr) == (1e-8, 1e-5)
    assert (recipe.lr_schedule, recipe.restart_epochs, recipe.restart_factor) == (
        "warm-restarts",
        10,
        1,
    )
    assert (recipe.per_class, recipe.validation_share, recipe.stratified) == (
        "smallest",
        0.1,
        False,
    )
    assert (recipe.label_smoothing, recipe.augmentations, recipe.class_weights) == (
        0.0,
        "none",
        False,
    )
    assert (recipe.gradient_norm, recipe.patience, recipe.precision) == (None, None, "32-true")


def test_the_fast_recipe_is_that_of_the_paper_on_a_frozen_and_cached_encoder() -> None:
    paper, fast = get_recipe("paper"), get_recipe("fast")
    differing = {
        name
        for name in TrainingRecipe.__struct_fields__
        if getattr(fast, name) != getattr(paper, name)
    }
    assert differing == {"name", "encoder_lr", "batch_size", "accumulate", "cached"}
    assert fast.is_frozen
    assert fast.batch_size * fast.accumulate == paper.batch_size * paper.accumulate


def test_every_recipe_is_known_by_its_own_name() -> None:
    assert {name: recipe.name for name, recipe in RECIPES.items()} == {
        name: name for name in RECIPES
    }
    with pytest.raises(
        ConfigError, match="no training recipe is called 'quick'; choose paper, fast, scratch"
    ):
        get_recipe("quick")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"decoder_lr": math.nan}, "NaN and infinity are not"),
        ({"decoder_lr": 0.0}, "decoder_lr: Expected `float` > 0.0"),
        ({"decoder_lr": 1.0}, "decoder_lr: Expected `float` < 1.0"),
        ({"encoder_lr": -1e-3}, "encoder_lr: Expected `float` >= 0.0"),
        ({"encoder_lr": math.inf}, "NaN and infinity are not"),
        ({"epochs": 0}, "epochs: Expected `int` >= 1"),
        ({"epochs": None}, "epochs: Expected `int`, got `null`"),
        ({"batch_size": 0}, "batch_size: Expected `int` >= 1"),
        ({"accumulate": 0}, "accumulate: Expected `int` >= 1"),
        ({"patience": 0}, "patience: Expected `int` >= 1"),
        ({"per_class": 0}, "per_class: Expected `int` >= 1"),
        ({"warmup": 1.0}, "warmup: Expected `float` < 1.0"),
        ({"weight_decay": math.nan}, "NaN and infinity are not"),
        ({"validation_share": 0.0}, "validation_share: Expected `float` > 0.0"),
        ({"gradient_norm": 0.0}, "gradient_norm: Expected `float` > 0.0"),
        ({"cached": True}, "only tokens of a frozen encoder can be cached"),
        (
            {"cached": True, "encoder_lr": 0.0, "augmentations": "strong"},
            "cached tokens can be mirrored, and not augmented in other ways",
        ),
        ({"lr_schedule": "linear"}, "lr_schedule: Invalid enum value 'linear'"),
        (
            {"precision": "8-true"},
            "precision: Invalid enum value '8-true'",
        ),
        (
            {"augmentations": "wild"},
            "augmentations: Invalid enum value 'wild'",
        ),
        ({"per_class": "all"}, "per_class: Invalid enum value 'all'"),
    ],
)
def test_a_senseless_value_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        change_recipe(TrainingRecipe(name="own"), **values)


def test_what_is_not_given_stays() -> None:
    paper = get_recipe("paper")
    assert change_recipe(paper, epochs=3) == replace(paper, epochs=3)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_comes_back_from_its_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml_from_recipe(RECIPES[name]))
    assert recipe_from_file(path, RECIPES["scratch"]) == RECIPES[name]


def test_a_file_changes_the_recipe_that_it_names_or_the_one_given(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("encoder_lr: 1e-8\nepochs: 3\nper_class: 5\n")
    scratch = recipe_from_file(path, RECIPES["scratch"])
    assert scratch == replace(RECIPES["scratch"], encoder_lr=1e-8, epochs=3, per_class=5)
    path.write_text("name: fast\nepochs: 3\n")
    assert recipe_from_file(path, RECIPES["scratch"]) == replace(RECIPES["fast"], epochs=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "recipe.yaml: a recipe has no epoch; it has name, epochs, "),
        ("epochs: 3.5", "epochs: Expected `int`"),
        ("epochs: many", "epochs: Expected `int`"),
        ("epochs: 3\nepochs: 4", "epochs is given twice"),
        ("decoder_lr: 2", "recipe.yaml: the training recipe does not fit: decoder_lr: Expected"),
        ("name: quick", "no training recipe is called 'quick'"),
        ("- epochs", "must hold keys and values"),
        ("", "must hold keys and values"),
        ("epochs: [1", "is not YAML"),
        ("epochs: !!python/object:os.system 3", "is not YAML"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        recipe_from_file(path, RECIPES["paper"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_may_begin_with_a_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("epochs: 3\r\n", encoding=encoding)
    assert recipe_from_file(path, RECIPES["fast"]).epochs == 3


def test_bytes_that_are_no_text_and_a_missing_file_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not YAML"):
        recipe_from_file(path, RECIPES["paper"])
    with pytest.raises(FileError, match="does not exist"):
        recipe_from_file(tmp_path / "none.yaml", RECIPES["paper"])


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{LAUGHS}name: *i\n", "may not use aliases"),
        ("epochs: &x 3\nbatch_size: *x\n", "may not use aliases"),
        ("<<: {epochs: 3}\n", "could not determine a constructor"),
        ("? [1, 2]\n: 3\n", "is not a name"),
        ("[" * 20_000, "nested deeper than 8 levels"),
        ("epochs: " + "{a: " * 5_000 + "}" * 5_000, "nested deeper than 8 levels"),
        (f"epochs: {'9' * 5_000}\n", "not a valid number"),
        ("epochs: 2026-13-45\n", "not a valid number"),
        ("epochs: !!float x\n", "not a valid number"),
        ("epochs: !!timestamp x\n", "not a valid number"),
        (
            "epochs: !!python/object/apply:os.mkdir [canary]\n",
            "is not YAML: line 1: could not determine a constructor",
        ),
        ("1: 2\n", "the key 1 is not a name"),
        (f"{'x' * 900}: 1\n", "a recipe has no x{29}…x{30}"),
        (
            "".join(f"k{number}: 1\n" for number in range(5_000)),
            "a recipe has no k0, .* and 4992 more; it has",
        ),
        (f"name: {'x' * 30_000}\n", "called 'x{28}…x{29}'"),
        ("x" * 70_000, "has 70,000 bytes, more than the 64,000 allowed"),
    ],
)
def test_a_hostile_recipe_is_one_short_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(MotivNetError, match=message) as caught:
        recipe_from_file(path, RECIPES["paper"])
    assert len(str(caught.value)) < 1_000
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]
