"""A disk that fills up while a training writes to it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from motivnet.checkpoints import load_checkpoint
from motivnet.config import ModelConfig
from motivnet.errors import FileError
from motivnet.model import build_model
from motivnet.preprocess import Preprocessing
from motivnet_training.checkpointing import read_state
from motivnet_training.devices import Devices
from motivnet_training.feature_cache import TokenKey, TokenStore
from motivnet_training.feature_cache.shard import write_shard
from motivnet_training.fit import fit
from motivnet_training.fit_request import FitRequest
from motivnet_training.history import History
from motivnet_training.recipe import RECIPES, change_recipe
from motivnet_training.run_folder import RunFolder
from motivnet_training.summary import write_published

SMALL = ModelConfig.named("tiny", image_size=(32, 32))
STRETCH = Preprocessing.named("stretch", size=(32, 32))
WEIGHTS = 4_000_000
"""Room for the weights of the second epoch, and then for no state with the optimizer's moments."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if not mounted or mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path, *, but: int = 0) -> Path:
    """A file that leaves this many bytes free."""
    status = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes(status.f_bavail * status.f_frsize - but))
    return filler


def request(data: Path, out: Path, *, epochs: int = 3, resume: bool = False) -> FitRequest:
    recipe = change_recipe(RECIPES["scratch"], epochs=epochs, batch_size=16, augmentations="mirror")
    return FitRequest(
        data=data,
        out=out,
        config=SMALL,
        recipe=recipe,
        preprocess=STRETCH,
        devices=Devices(device="cpu"),
        resume=resume,
        published=True,
    )


def refusal(data: Path, disk: Path, *, but: int) -> str:
    """Return the error of a training on whose disk so many bytes are left after an epoch."""

    def fill_up(line: str) -> None:
        if line.startswith("epoch 1/"):
            fill(disk, but=but)

    with pytest.raises(FileError) as raised:
        fit(request(data, disk / "run"), on_message=fill_up)
    return str(raised.value)


@pytest.fixture(scope="module")
def history(face_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> History:
    """Of a training that was not interrupted."""
    return fit(request(face_folder, tmp_path_factory.mktemp("whole") / "run")).history


@pytest.mark.parametrize(("but", "refused"), [(WEIGHTS, "last.ckpt"), (0, "best.safetensors")])
def test_a_disk_that_fills_up_is_one_line_and_the_training_goes_on_when_there_is_room(
    face_folder: Path, disk: Path, history: History, but: int, refused: str
) -> None:
    """Either way the second epoch cannot be kept."""
    folder = RunFolder(disk / "run")
    said = refusal(face_folder, disk, but=but)
    assert said == f"{folder.path / refused} was not written: No space left on device"
    assert len(read_state(folder.resume)["progress"]["history"]) == 1
    assert load_checkpoint(folder.best).metadata["epoch"] == (
        "2" if refused == "last.ckpt" else "1"
    )
    (disk / "filler").unlink()
    assert fit(request(face_folder, folder.path, resume=True)).history == history
    assert folder.published.exists()


def test_the_published_layout_on_a_full_disk_is_one_line_and_leaves_the_old_file(
    disk: Path,
) -> None:
    path, model = disk / "MotivNet.pth", build_model(SMALL, seed=1)
    write_published(model, path)
    old = path.read_bytes()
    fill(disk, but=len(old) // 2)
    with pytest.raises(FileError) as raised:
        write_published(build_model(SMALL, seed=2), path)
    assert str(raised.value) == f"{path} was not written: No space left on device"
    assert path.read_bytes() == old
    (disk / "filler").unlink()
    write_published(build_model(SMALL, seed=2), path)
    assert path.read_bytes() != old


def test_a_shard_of_tokens_on_a_full_disk_is_one_line_and_leaves_the_others(disk: Path) -> None:
    key = TokenKey(encoder="0" * 64, preprocess=STRETCH, compute="float32", shape=(4, 32))
    first, second = (
        disk / key.folder_name / name for name in ("00001.safetensors", "00002.safetensors")
    )
    write_shard(first, np.ones((1, 4, 32), np.float16), key=key, images=["1" * 64])
    fill(disk, but=100_000)
    with pytest.raises(FileError) as raised:
        write_shard(
            second,
            np.ones((1000, 4, 32), np.float16),
            key=key,
            images=[f"{n:064x}" for n in range(1000)],
        )
    assert str(raised.value) == f"{second} was not written: No space left on device"
    assert TokenStore(disk, key).tokens(["1" * 64]).sum() == 4 * 32
    assert [path.name for path in first.parent.iterdir()] == [first.name]
