"""Damaged, foreign and hostile states: each is refused in one line and runs no code."""

from __future__ import annotations

import contextlib
import io
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from motivnet.errors import CheckpointError, FileError, MotivNetError
from motivnet_training.checkpointing import read_state, write_state

CHECKPOINT = {
    "epoch": 3,
    "model": nn.Linear(8, 8).state_dict(),
    "optimizer": [{"state": {0: {"exp_avg": torch.ones(8, 8)}}, "param_groups": [{"lr": 1e-3}]}],
    "random": torch.get_rng_state(),
}


def load(path: Path) -> dict[str, Any]:
    return read_state(path)


def saved_again(path: Path) -> bytes:
    """What is loaded, as bytes."""
    buffer = io.BytesIO()
    torch.save(load(path), buffer)
    return buffer.getvalue()


@pytest.fixture
def intact(tmp_path: Path) -> Path:
    write_state(CHECKPOINT, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


@contextlib.contextmanager
def refused(kind: type[MotivNetError], *, match: str) -> Iterator[None]:
    """The block raises this error, in one line."""
    with pytest.raises(kind, match=match) as caught:
        yield
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_is_refused_or_changes_nothing(intact: Path) -> None:
    content, data = saved_again(intact), intact.read_bytes()
    refusals = 0
    for bit in random.Random(1).sample(range(8 * len(data)), 300):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        intact.write_bytes(flipped)
        try:
            found = saved_again(intact)
        except CheckpointError:
            refusals += 1
        else:
            assert found == content, f"bit {bit} went unnoticed"
    assert refusals > 50


def test_every_flipped_bit_of_a_record_is_refused(intact: Path) -> None:
    with zipfile.ZipFile(intact) as archive:
        records = [archive.read(name) for name in archive.namelist()]
    data, draw = intact.read_bytes(), random.Random(2)
    for record in records:
        start = data.index(record)
        for bit in draw.sample(range(8 * len(record)), min(10, 8 * len(record))):
            flipped = bytearray(data)
            flipped[start + bit // 8] ^= 1 << bit % 8
            intact.write_bytes(flipped)
            with refused(CheckpointError, match=r"last\.ckpt is .*damaged"):
                load(intact)


def test_every_truncation_is_refused(intact: Path) -> None:
    data = intact.read_bytes()
    for length in [0, 1, *random.Random(3).sample(range(len(data)), 200), len(data) - 1]:
        intact.write_bytes(data[:length])
        with refused(CheckpointError, match=r"last\.ckpt is .*damaged"):
            load(intact)


class _Gadget:
    """Pickles as a call that would make a folder."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("place", ["whole", "hyper_parameters", "callbacks", "model"])
def test_a_pickle_that_would_run_code_runs_nothing(place: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "last.ckpt"
    gadget = _Gadget(os.mkdir, str(canary))
    torch.save(gadget if place == "whole" else CHECKPOINT | {place: {"x": gadget}}, path)
    with refused(CheckpointError, match="could run code"):
        load(path)
    assert not canary.exists()


def test_the_switch_that_makes_pytorch_run_code_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save(
        CHECKPOINT | {"x": _Gadget(os.mkdir, str(tmp_path / "canary"))}, tmp_path / "last.ckpt"
    )
    with refused(CheckpointError, match=r"asks for the Python object posix\.mkdir"):
        load(tmp_path / "last.ckpt")
    assert not (tmp_path / "canary").exists()


def _doubled(levels: int) -> list[object]:
    """Lists that hold the one before twice: small in the file, endless to whoever walks them."""
    value: list[object] = [0]
    for _ in range(levels):
        value = [value, value]
    return value


def _nested(levels: int) -> object:
    value: object = 0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", [_doubled(40), _nested(70)], ids=["doubled", "nested"])
def test_values_without_an_end_are_refused(value: object, tmp_path: Path) -> None:
    torch.save(CHECKPOINT | {"x": value}, tmp_path / "last.ckpt")
    with refused(
        CheckpointError, match="is nested deeper than 64 levels or holds more than 2,000,000 values"
    ):
        load(tmp_path / "last.ckpt")


def test_a_tensor_that_claims_more_than_its_bytes_is_refused_by_name(tmp_path: Path) -> None:
    expanded = torch.ones(1).expand(1 << 20, 1 << 20)
    torch.save({"optimizer": [{"state": {0: {"exp_avg": expanded}}}]}, tmp_path / "bomb.ckpt")
    with refused(
        CheckpointError,
        match=r"claim more than the bytes .*: optimizer\.0\.state\.0\.exp_avg",
    ):
        load(tmp_path / "bomb.ckpt")


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_a_sparse_tensor_is_refused(tmp_path: Path) -> None:
    sparse = torch.sparse_coo_tensor([[0], [0]], [1.0], (1 << 20, 1 << 20))
    torch.save({"optimizer": [{"state": {0: {"exp_avg": sparse}}}]}, tmp_path / "bomb.ckpt")
    with refused(
        CheckpointError, match=r"asks for the Python object torch\._utils\._rebuild_sparse_tensor"
    ):
        load(tmp_path / "bomb.ckpt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds no checkpoint of a training but a list"),
        (torch.ones(3), "holds no checkpoint of a training but a Tensor"),
        ({1: 2}, "holds no checkpoint of a training but a dict"),
    ],
)
def test_what_is_no_checkpoint_says_what_it_is(
    content: object, message: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "other.ckpt")
    with refused(CheckpointError, match=f"other.ckpt {message}"):
        load(tmp_path / "other.ckpt")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (Path.mkdir, "is a directory"),
        (os.mkfifo, "is not a regular file"),
    ],
    ids=["missing", "folder", "fifo"],
)
def test_a_path_that_is_no_file_is_one_line(
    make: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    make(tmp_path / "last.ckpt")
    with refused(FileError, match=rf"last\.ckpt {message}"):
        load(tmp_path / "last.ckpt")
