"""How much faster a head trains on cached tokens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.model import build_model
from motivnet.preprocess import InputRecipe
from motivnet_training.datasets.sample import GreyPixels, Sample
from motivnet_training.tokens.speed import TrainingSpeed, measure_speed


def faces(count: int) -> list[Sample]:
    draw = np.random.default_rng(0)
    pixels = [draw.integers(0, 256, 48 * 48, np.uint8).tobytes() for _ in range(count)]
    return [Sample(name=str(i), image=GreyPixels(data=data, size=(48, 48)), label=i) for i, data in enumerate(pixels)]


def test_the_ratio_counts_the_caching_once_and_a_step_for_each_batch() -> None:
    speed = TrainingSpeed(full=[9.0, 11.0], full_step=[16.0], encoder=[3.0, 5.0], head=[0.25], head_step=[4.0])
    assert speed.seconds_per_image(16) == (11.0, 0.5)
    assert speed.ratio() == 30 * 11 / (4 + 30 * 0.5)
    assert speed.ratio(epochs=1, images_per_step=1) == 26 / (4 + 4.25)


def test_every_part_is_measured_in_turn(tmp_path: Path) -> None:
    encoder = EncoderConfig(embed_dim=32, depth=2, num_heads=2, image_size=(32, 32))
    model = build_model(ModelConfig(encoder=encoder, decoder=DecoderConfig(embed_dim=16, num_heads=2, mlp_dim=16)))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    speed = measure_speed(model, faces(2), tmp_path, recipe=InputRecipe.named("stretch", size=(32, 32)))
    assert [len(part) for part in (speed.full, speed.full_step, speed.encoder)] == [2, 2, 2]
    assert [len(part) for part in (speed.head, speed.head_step)] == [6, 6]
    assert min(speed.full + speed.full_step + speed.encoder + speed.head + speed.head_step) > 0
    for part in ("encoder.blocks.0.mlp.fc1.weight", "decoder.embed.weight"):
        assert not np.array_equal(model.state_dict()[part], before[part]), "both parts are trained"


@pytest.fixture
def all_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("all_cores")
def test_training_on_cached_tokens_is_twenty_times_faster_at_full_size(tmp_path: Path) -> None:
    model = build_model(ModelConfig.named("sapiens-0.3b"), seed=0)
    speed = measure_speed(model, faces(2), tmp_path, recipe=InputRecipe.named("stretch"))
    print(f"\n{speed}")
    for images_per_step in (1, 16):
        full, head = speed.seconds_per_image(images_per_step)
        ratio = speed.ratio(images_per_step=images_per_step)
        print(f"a step of {images_per_step}: {full:.2f} s and {head:.3f} s an image, {ratio:.1f} times over 30 epochs")
        assert ratio >= 20
