"""How much faster a head trains on cached tokens than the whole model trains, measured a few images at a time."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW, Optimizer

from motivnet.model import MotivNet
from motivnet.preprocess import InputRecipe
from motivnet_training.datasets.sample import Sample
from motivnet_training.tokens.encode import encoded
from motivnet_training.tokens.key import TokenKey, token_key
from motivnet_training.tokens.shard import SUFFIX, write_shard
from motivnet_training.tokens.store import TokenStore

_ENCODER_LR = 1e-8
_DECODER_LR = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSpeed:
    """Seconds, one entry a measurement, of one image or one step of the optimiser.

    ``full`` and ``head`` are forward and backward passes with the reading of the image or of its tokens,
    ``full_step`` and ``head_step`` the steps of AdamW; ``encoder`` is all that caching one image takes.
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
    model: MotivNet, samples: Sequence[Sample], folder: Path, *, recipe: InputRecipe, head_images: int = 3
) -> TrainingSpeed:
    """The speed of ``model`` on the CPU, in FP32 and with batches of one image; the model is trained a little.

    For each sample in turn: one step of the full training, the caching of its tokens in ``folder``, which should be
    empty, and ``head_images`` steps of the head.
    """
    speed = TrainingSpeed()
    decoder = {"params": model.decoder.parameters(), "lr": _DECODER_LR}
    full = AdamW([{"params": model.encoder.parameters(), "lr": _ENCODER_LR}, decoder])
    head = AdamW(model.decoder.parameters(), lr=_DECODER_LR)
    key = token_key(model.encoder, recipe=recipe)
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


def _input(sample: Sample, recipe: InputRecipe) -> Tensor:
    return torch.from_numpy(recipe(sample.pixels())[None])


def _tokens(store: TokenStore, sample: Sample) -> Tensor:
    return torch.from_numpy(store.tokens([sample.digest()])).float()


def _cache(model: MotivNet, sample: Sample, path: Path, *, key: TokenKey) -> None:
    write_shard(path, encoded(model.encoder, [sample], key=key), key=key, images=[sample.digest()])


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
