"""Files of ours where the system refuses to write them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import SafetensorError

from motivnet.checkpoints import save_model
from motivnet.checkpoints.safetensors_files import atomic_safetensors
from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.errors import FileError
from motivnet.labels import EMOTIONS
from motivnet.model import build_model

Tree = Callable[[Path], dict[str, str]]

CONFIG = ModelConfig(
    encoder=EncoderConfig(embed_dim=32, depth=2, num_heads=2, image_size=(32, 32)),
    decoder=DecoderConfig(embed_dim=16, num_heads=2, mlp_dim=16),
)
"""A model of a quarter of a megabyte."""


def save(path: Path, *, seed: int) -> None:
    save_model(
        build_model(CONFIG, seed=seed), path, config=CONFIG, labels=EMOTIONS[:7], preprocessing=None
    )


def test_a_full_disk_is_one_line_and_leaves_the_old_checkpoint(
    small_disk: Path, tmp_path: Path
) -> None:
    path = small_disk / "best.safetensors"
    save(path, seed=1)
    old, free = path.read_bytes(), os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * (free - len(old) // 2))
    with pytest.raises(FileError) as raised:
        save(path, seed=2)
    assert str(raised.value) == f"{path} was not written: No space left on device"
    assert path.read_bytes() == old
    assert {each.name for each in small_disk.iterdir()} == {"best.safetensors", "filler"}
    filler.unlink()
    for each in (path, tmp_path / "elsewhere"):
        save(each, seed=2)
    assert path.read_bytes() == (tmp_path / "elsewhere").read_bytes() != old


@pytest.mark.usefixtures("file_size_limit")
def test_a_file_beyond_the_limit_is_one_line_and_leaves_nothing(tmp_path: Path, tree: Tree) -> None:
    with pytest.raises(FileError, match=r"best\.safetensors was not written: File too large$"):
        save(tmp_path / "best.safetensors", seed=1)
    assert tree(tmp_path) == {}


def test_what_the_system_has_no_part_in_stays_what_it_is(tmp_path: Path, tree: Tree) -> None:
    with pytest.raises(SafetensorError, match="a header"), atomic_safetensors(tmp_path / "file"):
        raise SafetensorError("a header that is too large")
    with pytest.raises(FileNotFoundError) as raised, atomic_safetensors(tmp_path / "file"):
        raise SafetensorError(f"I/O error: gone (os error {errno.ENOENT})")
    assert raised.value.errno == errno.ENOENT
    assert tree(tmp_path) == {}
