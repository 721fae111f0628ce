"""Several writers of one cache, and writers that are killed at any moment."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.datasets.sample import RawPixels, Sample
from motivnet.errors import FileError
from motivnet.model import build_model
from motivnet.preprocess import Preprocessing
from motivnet.workspace import write_lock
from motivnet_training.feature_cache import TokenStore, cache_tokens, token_key
from motivnet_training.feature_cache.shard import read_description

WRITERS = Path(__file__).with_name("token_writers.py")
CONFIG = ModelConfig(
    encoder=EncoderConfig(embed_dim=32, depth=2, num_heads=2, image_size=(32, 32)),
    decoder=DecoderConfig(embed_dim=16, num_heads=2, mlp_dim=16),
)
PREPROCESSING = Preprocessing.named("stretch", size=(32, 32))
SAMPLES = [
    Sample(name=str(number), image=RawPixels(data=bytes([number] * 64), size=(8, 8)), label=0)
    for number in range(12)
]


def write(folder: Path, samples: list[Sample] = SAMPLES) -> TokenStore:
    return cache_tokens(
        build_model(CONFIG, seed=1).encoder,
        samples,
        folder,
        preprocess=PREPROCESSING,
        shard_bytes=1024,
    )


def test_a_writer_killed_before_any_of_its_steps_loses_one_shard_at_most(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, WRITERS, tmp_path], capture_output=True, text=True, check=True
    )
    *kills, whole = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(kills) > 40
    assert all(kill["killed"] for kill in kills)
    assert (whole["killed"], whole["left"], whole["computed"]) == (False, 5, 0)
    assert {kill["left"] for kill in kills} == {0, 2, 4, 5}, "whole shards, and each of them"
    for kill in kills:
        assert kill["computed"] == 5 - kill["left"], kill
        assert kill["equal"], kill
        assert kill["untouched"], kill
        assert kill["files"] == ["00001.safetensors", "00002.safetensors", "00003.safetensors"], (
            kill
        )


def test_a_second_writer_is_told_so_and_a_reader_is_not_kept_out(tmp_path: Path) -> None:
    write(tmp_path, SAMPLES[:3])
    key = token_key(build_model(CONFIG, seed=1).encoder, preprocess=PREPROCESSING)
    with write_lock(tmp_path / key.folder_name) as alone:
        assert alone
        with pytest.raises(
            FileError, match="is being written by another process; wait for it and run again"
        ):
            write(tmp_path)
        assert len(write(tmp_path, SAMPLES[:2])) == 3, "nothing is missing, nothing is written"
    assert len(write(tmp_path)) == 12


class Overtaken(list[Sample]):
    """Samples during whose hashing another writer caches the tokens of all of them."""

    folder: Path

    def __iter__(self) -> Iterator[Sample]:
        yield from super().__iter__()
        write(self.folder)


def test_what_another_writer_has_finished_meanwhile_is_not_computed_again(tmp_path: Path) -> None:
    samples = Overtaken(SAMPLES)
    samples.folder = tmp_path
    encoder = build_model(CONFIG, seed=1).encoder
    encoder.patch_embed.register_forward_hook(lambda *_: pytest.fail("an image was computed twice"))
    assert len(cache_tokens(encoder, samples, tmp_path, preprocess=PREPROCESSING)) == 12


def test_a_disk_that_refuses_is_one_clear_line_and_what_was_written_stays(tmp_path: Path) -> None:
    store = write(tmp_path, SAMPLES[:4])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(FileError, match=r"00002\.safetensors was not written: .*too large"):
            write(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in store.folder.iterdir()] == ["00001.safetensors"]
    assert len(write(tmp_path)) == 12


@pytest.mark.timeout(60)
def test_of_many_writers_each_finishes_or_is_told_and_the_cache_is_whole(tmp_path: Path) -> None:
    told: list[str] = []

    def work(number: int) -> None:
        for count in range(1, 13):
            try:
                write(tmp_path, SAMPLES[: count if number % 2 else 13 - count])
            except FileError as error:
                told.append(str(error))

    writers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert all("is being written by another process" in line for line in told)
    store = write(tmp_path)
    expected = write(tmp_path / "alone")
    digests = [sample.digest() for sample in SAMPLES]
    assert np.array_equal(store.tokens(digests), expected.tokens(digests))
    assert sum(len(read_description(path).images) for path in store.shards) == 12, "each image once"
    assert not list(tmp_path.rglob("*.partial"))
