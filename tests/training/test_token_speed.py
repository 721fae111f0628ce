"""How much faster a head trains on cached tokens than the whole model, measured on few images."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW, Optimizer

from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.datasets.sample import RawPixels, Sample
from motivnet.model import MotivNet, build_model
from motivnet.preprocess import Preprocessing
from motivnet_training.feature_cache import TokenKey, TokenStore, token_key
from motivnet_training.feature_cache.encode import encode_images
from motivnet_training.feature_cache.shard import SUFFIX, write_shard
from motivnet_training.recipe import RECIPES

PAPER = RECIPES["paper"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSpeed:
    """Seconds, one entry a measurement, of one image or one step of the optimizer.

    ``full`` and ``head`` are forward and backward passes with the reading of the image or of its
    tokens, ``full_step`` and ``head_step`` the steps of AdamW; ``encoder`` is all that caching one
    image takes.
    """

    full: list[float] = field(default_factory=list)
    full_step: list[float] = field(default_factory=list)
    encoder: list[float] = field(default_factory=list)
    head: list[float] = field(default_factory=list)
    head_step: list[float] = field(default_factory=list)

    def ratio(self, *, epochs: int = 30, images_per_step: int = 16) -> float:
        """The time of the full training by that of caching once and training the head."""
        full, head = self.seconds_per_image(images_per_step)
        return epochs * full / (statistics.mean(self.encoder) + epochs * head)

    def seconds_per_image(self, images_per_step: int) -> tuple[float, float]:
        """Of the full training and of the head's, in one epoch."""
        passes, steps = (self.full, self.head), (self.full_step, self.head_step)
        full, head = (
            statistics.mean(one) + statistics.mean(step) / images_per_step
            for one, step in zip(passes, steps, strict=True)
        )
        return full, head


def measure_speed(
    model: MotivNet,
    samples: Sequence[Sample],
    folder: Path,
    *,
    recipe: Preprocessing,
    head_images: int = 3,
) -> TrainingSpeed:
    """The speed of ``model`` on the CPU, in FP32 and with batches of one image; the model is
    trained a little.

    For each sample in turn: one step of the full training, the caching of its tokens in ``folder``,
    which should be empty, and ``head_images`` steps of the head.
    """
    speed = TrainingSpeed()
    decoder = {"params": model.decoder.parameters(), "lr": PAPER.decoder_lr}
    full = AdamW([{"params": model.encoder.parameters(), "lr": PAPER.encoder_lr}, decoder])
    head = AdamW(model.decoder.parameters(), lr=PAPER.decoder_lr)
    key = token_key(model.encoder, preprocess=recipe)
    for number, sample in enumerate(samples):
        with _timed(speed.full):
            _backward(model(_input(sample, recipe)), sample)
        _step(full, speed.full_step)
        with _timed(speed.encoder):
            _cache(model, sample, folder / key.folder_name / f"{number:05d}{SUFFIX}", key=key)
        store = TokenStore(folder, key)
        for _ in range(head_images):
            with _timed(speed.head):
                _backward(model.decoder(_tokens(store, sample)), sample)
            _step(head, speed.head_step)
    return speed


def _input(sample: Sample, recipe: Preprocessing) -> Tensor:
    return torch.from_numpy(recipe(sample.pixels())[None])


def _tokens(store: TokenStore, sample: Sample) -> Tensor:
    return torch.from_numpy(store.tokens([sample.digest()])).float()


def _cache(model: MotivNet, sample: Sample, path: Path, *, key: TokenKey) -> None:
    write_shard(
        path, encode_images(model.encoder, [sample], key=key), key=key, images=[sample.digest()]
    )


def _backward(logits: Tensor, sample: Sample) -> None:
    functional.cross_entropy(logits, torch.tensor([sample.label])).backward()  # type: ignore[no-untyped-call]


def _step(optimizer: Optimizer, seconds: list[float]) -> None:
    with _timed(seconds):
        optimizer.step()
        optimizer.zero_grad()


@contextlib.contextmanager
def _timed(seconds: list[float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - began)


def faces(count: int) -> list[Sample]:
    draw = np.random.default_rng(0)
    pixels = [draw.integers(0, 256, 48 * 48, np.uint8).tobytes() for _ in range(count)]
    return [
        Sample(name=str(i), image=RawPixels(data=data, size=(48, 48)), label=i)
        for i, data in enumerate(pixels)
    ]


def test_the_ratio_counts_the_caching_once_and_a_step_for_each_batch() -> None:
    speed = TrainingSpeed(
        full=[9.0, 11.0], full_step=[16.0], encoder=[3.0, 5.0], head=[0.25], head_step=[4.0]
    )
    assert speed.seconds_per_image(16) == (11.0, 0.5)
    assert speed.ratio() == 30 * 11 / (4 + 30 * 0.5)
    assert speed.ratio(epochs=1, images_per_step=1) == 26 / (4 + 4.25)


def test_every_part_is_measured_in_turn(tmp_path: Path) -> None:
    encoder = EncoderConfig(embed_dim=32, depth=2, num_heads=2, image_size=(32, 32))
    model = build_model(
        ModelConfig(encoder=encoder, decoder=DecoderConfig(embed_dim=16, num_heads=2, mlp_dim=16))
    )
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    speed = measure_speed(
        model, faces(2), tmp_path, recipe=Preprocessing.named("stretch", size=(32, 32))
    )
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
    speed = measure_speed(model, faces(2), tmp_path, recipe=Preprocessing.named("stretch"))
    print(f"\n{speed}")
    for images_per_step in (1, 16):
        full, head = speed.seconds_per_image(images_per_step)
        ratio = speed.ratio(images_per_step=images_per_step)
        print(
            f"a step of {images_per_step}: {full:.2f} s and {head:.3f} s per image, "
            f"{ratio:.1f} times over 30 epochs"
        )
        assert ratio >= 20
