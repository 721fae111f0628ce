"""Reading the cache of tokens, and what is done about damaged files."""

from __future__ import annotations

import gc
import os
import pickle
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch.utils.data import DataLoader, Dataset

from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.datasets.sample import RawPixels, Sample
from motivnet.errors import CheckpointError, FileError, MotivNetError, TrainingError
from motivnet.model import SapiensEncoder, build_model
from motivnet.preprocess import Preprocessing
from motivnet_training.feature_cache import TokenKey, TokenStore, cache_tokens, token_key
from motivnet_training.feature_cache.shard import write_shard

PREPROCESSING = Preprocessing.named("stretch", size=(32, 32))
KEY = TokenKey(encoder="0" * 64, preprocess=PREPROCESSING, compute="float32", shape=(4, 32))


def make_encoder() -> SapiensEncoder:
    encoder = EncoderConfig(embed_dim=32, depth=2, num_heads=2, image_size=(32, 32))
    decoder = DecoderConfig(embed_dim=16, num_heads=2, mlp_dim=16)
    return build_model(ModelConfig(encoder=encoder, decoder=decoder), seed=1).encoder


def image(number: int) -> str:
    return f"{number:064x}"


def numbers(count: int, *, seed: int = 0, key: TokenKey = KEY) -> NDArray[np.float16]:
    return np.random.default_rng(seed).standard_normal((count, *key.shape)).astype(np.float16)


def write(root: Path, name: str, images: list[int], *, key: TokenKey = KEY) -> NDArray[np.float16]:
    tokens = numbers(len(images), seed=images[0], key=key)
    write_shard(
        root / KEY.folder_name / name, tokens, key=key, images=[image(number) for number in images]
    )
    return tokens


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    write(tmp_path, "00001.safetensors", [1, 2, 3])
    return tmp_path / KEY.folder_name / "00001.safetensors"


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position // 8] ^= 1 << position % 8
    path.write_bytes(data)


def read_all(root: Path) -> NDArray[np.float16]:
    return TokenStore(root, KEY).tokens([image(1), image(2), image(3)])


def test_images_of_several_shards_come_in_the_order_asked_for(tmp_path: Path) -> None:
    first, second = (
        write(tmp_path, "00001.safetensors", [1, 2]),
        write(tmp_path, "00002.safetensors", [3, 4]),
    )
    store = TokenStore(tmp_path, KEY)
    tokens = store.tokens([image(number) for number in (4, 1, 3, 4)])
    assert np.array_equal(tokens, [second[1], first[0], second[0], second[1]])
    assert tokens.flags.writeable
    assert store.tokens([]).shape == (0, 4, 32)


def test_a_store_knows_what_it_has(tmp_path: Path) -> None:
    write(tmp_path, "00001.safetensors", [1, 2])
    write(tmp_path, "00002.safetensors", [2, 3])
    store = TokenStore(tmp_path, KEY)
    assert len(store) == 3
    assert image(2) in store
    assert image(4) not in store


def test_an_image_without_tokens_is_one_clear_line(shard: Path, tmp_path: Path) -> None:
    message = f"{KEY.folder_name} has no tokens of the image with SHA-256 {image(9)}; cache the"
    with pytest.raises(TrainingError, match=message):
        TokenStore(tmp_path, KEY).tokens([image(1), image(9)])


def test_a_cache_is_for_what_it_was_made_with_and_nothing_else(tmp_path: Path) -> None:
    face = Sample(name="face", image=RawPixels(data=bytes(range(64)), size=(8, 8)), label=0)
    cached = cache_tokens(make_encoder(), [face], tmp_path, preprocess=PREPROCESSING)
    opened = TokenStore(tmp_path, token_key(make_encoder(), preprocess=PREPROCESSING))
    assert opened.missing([face]) == {}
    assert np.array_equal(opened.tokens([face.digest()]), cached.tokens([face.digest()]))
    assert (
        len(
            TokenStore(
                tmp_path, token_key(make_encoder(), preprocess=PREPROCESSING, compute="bfloat16")
            )
        )
        == 0
    )


def test_equal_tokens_make_equal_files(tmp_path: Path) -> None:
    for root in (tmp_path / "a", tmp_path / "b"):
        write(root, "00001.safetensors", [1, 2])
    first, second = (path.read_bytes() for path in sorted(tmp_path.rglob("*.safetensors")))
    assert first == second


def test_no_flipped_bit_goes_unseen(shard: Path, tmp_path: Path) -> None:
    whole = shard.read_bytes()
    draw = random.Random(1)
    for position in draw.sample(range(8 * len(whole)), 500):
        flip(shard, position)
        with pytest.raises(
            CheckpointError, match=rf"{re.escape(str(shard))} .*delete it .*run again"
        ):
            read_all(tmp_path)
        shard.write_bytes(whole)
    assert np.array_equal(read_all(tmp_path), numbers(3, seed=1))


def test_no_truncation_goes_unseen(shard: Path, tmp_path: Path) -> None:
    whole = shard.read_bytes()
    for length in [0, 1, 7, 8, 9, *range(10, len(whole), 41), len(whole) - 1]:
        shard.write_bytes(whole[:length])
        with pytest.raises(
            CheckpointError, match=f"{shard} is truncated or damaged; delete it and run again"
        ):
            TokenStore(tmp_path, KEY)


def test_damage_of_one_images_tokens_leaves_the_others_readable(
    shard: Path, tmp_path: Path
) -> None:
    flip(shard, 8 * shard.stat().st_size - 1)
    store = TokenStore(tmp_path, KEY)
    assert np.array_equal(store.tokens([image(1), image(2)]), numbers(3, seed=1)[:2])
    for _ in range(2):
        with pytest.raises(CheckpointError, match="is truncated or damaged"):
            store.tokens([image(3)])


def model_file(path: Path) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, path, metadata={"format": "pt"})


def other_key(path: Path) -> None:
    key = TokenKey(encoder="1" * 64, preprocess=PREPROCESSING, compute="float32", shape=(4, 32))
    write_shard(path, numbers(1), key=key, images=[image(7)])


def other_shape(path: Path) -> None:
    write_shard(path, np.zeros((1, 5, 32), np.float16), key=KEY, images=[image(7)])


def other_dtype(path: Path) -> None:
    write_shard(path, np.zeros((1, 4, 32), np.uint16), key=KEY, images=[image(7)])  # type: ignore[arg-type]


def wrong_hash(path: Path) -> None:
    write_shard(path, numbers(1), key=KEY, images=["0" * 63 + "G"])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            model_file,
            CheckpointError,
            "is not a shard of tokens; delete it or move it away, and run again",
        ),
        (
            other_key,
            CheckpointError,
            "holds tokens of another encoder, preprocessing or precision; delete it and run",
        ),
        (
            other_shape,
            CheckpointError,
            "does not hold the tokens that it describes; delete it and run again",
        ),
        (
            other_dtype,
            CheckpointError,
            "does not hold the tokens that it describes; delete it and run again",
        ),
        (
            wrong_hash,
            CheckpointError,
            "describes its tokens in a way that is not valid: .*; delete it and run again",
        ),
        (
            lambda path: path.write_text("notes about the cache"),
            CheckpointError,
            "is truncated or damaged; delete it",
        ),
        (Path.mkdir, FileError, "is a directory; give a file"),
        (os.mkfifo, FileError, "is not a regular file"),
        (
            lambda path: path.symlink_to("nowhere"),
            FileError,
            "is a link to a file that does not exist",
        ),
    ],
)
def test_a_file_that_does_not_belong_is_named(
    make: object, error: type[MotivNetError], message: str, shard: Path, tmp_path: Path
) -> None:
    foreign = shard.with_name("00002.safetensors")
    assert callable(make)
    make(foreign)
    with pytest.raises(error, match=f"^{foreign} {message}"):
        TokenStore(tmp_path, KEY)


def test_a_description_that_is_not_valid_is_a_clear_error(shard: Path, tmp_path: Path) -> None:
    text = shard.read_bytes()
    assert text.count(b"float32") == 1
    shard.write_bytes(text.replace(b"float32", b"float64"))
    with pytest.raises(CheckpointError, match="is truncated or damaged"):
        TokenStore(tmp_path, KEY)


def test_a_shard_that_disappears_after_opening_is_named(shard: Path, tmp_path: Path) -> None:
    store = TokenStore(tmp_path, KEY)
    shard.unlink()
    with pytest.raises(FileError, match=r"00001\.safetensors does not exist"):
        store.tokens([image(1)])


def test_a_shard_stays_readable_while_it_is_open(shard: Path, tmp_path: Path) -> None:
    store = TokenStore(tmp_path, KEY)
    store.tokens([image(1)])
    shard.unlink()
    assert np.array_equal(store.tokens([image(2)])[0], numbers(3, seed=1)[1])


class Tokens(Dataset[torch.Tensor]):
    def __init__(self, store: TokenStore, images: list[str]) -> None:
        self.store = store
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.store.tokens([self.images[index]])[0])


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_forked_workers_read_the_same_after_their_parent_has_read(tmp_path: Path) -> None:
    expected = [
        write(tmp_path, f"0000{number}.safetensors", [10 * number, 10 * number + 1])
        for number in (1, 2, 3)
    ]
    images = [image(10 * number + row) for number in (1, 2, 3) for row in (0, 1)]
    store = TokenStore(tmp_path, KEY)
    store.tokens(images[:3])
    gc.collect()  # what other tests left: a decoder of videos hangs if a fork frees it
    for _ in range(2):
        loader = DataLoader(
            Tokens(store, images), batch_size=2, num_workers=2, multiprocessing_context="fork"
        )
        assert np.array_equal(torch.cat(list(loader)).numpy(), np.concatenate(expected))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_what_a_forked_worker_has_checked_is_not_checked_again(shard: Path, tmp_path: Path) -> None:
    store = TokenStore(tmp_path, KEY)
    assert list(store._checked[:]) == [0, 0, 0]
    gc.collect()
    loader = DataLoader(
        Tokens(store, [image(1), image(3)]), num_workers=1, multiprocessing_context="fork"
    )
    assert len(list(loader)) == 2
    assert list(store._checked[:]) == [1, 0, 1]


def test_a_store_can_be_sent_to_a_spawned_worker(shard: Path, tmp_path: Path) -> None:
    store = TokenStore(tmp_path, KEY)
    store.tokens([image(1)])
    sent = pickle.loads(pickle.dumps(store))
    assert np.array_equal(sent.tokens([image(3)]), store.tokens([image(3)]))


def resident() -> int:
    """Bytes of this process in memory, those mapped from files among them."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_only_the_tokens_asked_for_are_read(tmp_path: Path) -> None:
    key = TokenKey(encoder="0" * 64, preprocess=PREPROCESSING, compute="float32", shape=(64, 512))
    images = [image(number) for number in range(1024)]
    tokens = np.zeros((1024, 64, 512), np.float16)
    tokens[700] = 1
    write_shard(tmp_path / key.folder_name / "00001.safetensors", tokens, key=key, images=images)
    del tokens
    store = TokenStore(tmp_path, key)
    before = resident()
    assert store.tokens([images[700], images[3]]).mean() == 0.5
    assert resident() - before < 8 << 20


def test_open_shards_hold_no_descriptors(tmp_path: Path) -> None:
    for number in range(1, 31):
        write(tmp_path, f"{number:05d}.safetensors", [number])
    store = TokenStore(tmp_path, KEY)
    before = len(os.listdir("/proc/self/fd"))
    store.tokens([image(number) for number in range(1, 31)])
    assert len(os.listdir("/proc/self/fd")) == before
