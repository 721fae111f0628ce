"""How much faster a head trains on cached tokens than the whole model, measured on few images."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW

from motivnet.config import ModelConfig
from motivnet.datasets.sample import RawPixels, Sample
from motivnet.model import build_model
from motivnet.preprocess import Preprocessing
from motivnet_training.feature_cache import TokenStore, token_key
from motivnet_training.feature_cache.encode import encode_images
from motivnet_training.feature_cache.shard import SUFFIX, write_shard

EPOCHS = 30


@pytest.fixture
def all_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    yield
    torch.set_num_threads(before)


def face(number: int) -> Sample:
    data = np.random.default_rng(number).integers(0, 256, 48 * 48, np.uint8).tobytes()
    return Sample(name=str(number), image=RawPixels(data=data, size=(48, 48)), label=number)


def backward(logits: Tensor, sample: Sample) -> None:
    functional.cross_entropy(logits, torch.tensor([sample.label])).backward()  # type: ignore[no-untyped-call]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("all_cores")
def test_training_on_cached_tokens_is_twenty_times_faster_at_full_size(tmp_path: Path) -> None:
    model = build_model(ModelConfig.named("sapiens-0.3b"), seed=0)
    preprocessing = Preprocessing.named("stretch")
    key = token_key(model.encoder, preprocess=preprocessing)
    full, head = AdamW(model.parameters()), AdamW(model.decoder.parameters())
    seconds: defaultdict[str, list[float]] = defaultdict(list)

    @contextlib.contextmanager
    def timed(what: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds[what].append(time.perf_counter() - began)

    for sample in (face(0), face(1)):
        with timed("full"):
            backward(model(torch.from_numpy(preprocessing(sample.pixels())[None])), sample)
        with timed("full step"):
            full.step()
            full.zero_grad()
        with timed("cache"):
            tokens = encode_images(model.encoder, [sample], key=key)
            path = tmp_path / key.folder_name / f"{sample.name}{SUFFIX}"
            write_shard(path, tokens, key=key, images=[sample.digest()])
        store = TokenStore(tmp_path, key)
        for _ in range(3):
            with timed("head"):
                stored = torch.from_numpy(store.tokens([sample.digest()])).float()
                backward(model.decoder(stored), sample)
            with timed("head step"):
                head.step()
                head.zero_grad()
    mean = {what: statistics.mean(measured) for what, measured in seconds.items()}
    for batch_size in (1, 16):
        of_full = mean["full"] + mean["full step"] / batch_size
        of_head = mean["head"] + mean["head step"] / batch_size
        ratio = EPOCHS * of_full / (mean["cache"] + EPOCHS * of_head)
        print(f"batch size {batch_size}: {of_full:.2f} s and {of_head:.3f} s, {ratio:.1f} times")
        assert ratio >= 20
