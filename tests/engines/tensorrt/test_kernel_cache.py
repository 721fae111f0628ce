"""The file of compiled kernels: where it is, who may write it, and that it is never an error."""

from __future__ import annotations

import logging
import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from motivnet.workspace import write_lock
from motivnet_engines.runtimes.tensorrt.kernel_cache import KernelCache

KERNELS = b"kernels" * 100
NAME = f"{'a' * 64}.sm86.rtx-cache"
RECORD = f"{NAME}.json"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home" / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "motivnet"


def cache(*, sm: str = "86", engine: str = "a") -> KernelCache:
    return KernelCache(engine * 64, sm=sm)


def test_what_is_written_is_read_and_lies_in_the_users_own_cache(home: Path) -> None:
    assert cache().read() is None
    cache().write(KERNELS)
    assert cache().read() == KERNELS
    assert sorted(path.name for path in home.iterdir()) == [NAME, RECORD]
    assert (home / NAME).read_bytes() == KERNELS
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()} == {0o600}


def test_kernels_beside_an_artifact_come_from_anywhere_and_are_not_read(
    home: Path, tmp_path: Path
) -> None:
    cache().write(KERNELS)
    for name in (NAME, RECORD):
        shutil.move(home / name, tmp_path / name)
    assert cache().read() is None


def test_another_gpu_and_another_engine_have_their_own() -> None:
    cache().write(KERNELS)
    assert cache(sm="89").read() is None
    assert cache(engine="b").read() is None


def test_nothing_is_written_when_nothing_was_compiled(home: Path) -> None:
    kept = cache()
    for kernels in (None, b""):
        kept.write(kernels)
    assert not home.exists()
    kept.write(KERNELS)
    os.utime(home / NAME, (1, 1))
    again = cache()
    again.write(again.read())
    assert (home / NAME).stat().st_mtime == 1


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


DAMAGE: dict[str, Any] = {
    "a bit flipped": flip,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "no record": lambda path: path.with_name(RECORD).unlink(),
    "a record of others": lambda path: path.with_name(RECORD).write_text("{}"),
    "a record open to all": lambda path: path.with_name(RECORD).chmod(0o604),
    "a link": link,
    "open to the group": lambda path: path.chmod(0o660),
    "open to all": lambda path: path.chmod(0o604),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_cannot_be_trusted_is_not_used_and_said_so(
    damage: str, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache().write(KERNELS)
    DAMAGE[damage](home / NAME)
    assert cache().read() is None
    assert "compiled kernels of an earlier run are not used" in caplog.text


def test_a_cache_that_others_can_write_into_is_not_used(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache().write(KERNELS)
    home.chmod(0o777)
    assert cache().read() is None
    assert "others can write into" in caplog.text
    cache().write(b"other kernels")
    assert "the compiled kernels are not kept" in caplog.text


def test_another_users_file_is_not_used(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache().write(KERNELS)
    chowned(home / NAME)
    assert cache().read() is None
    assert "another user's" in caplog.text


def chowned(path: Path) -> None:
    try:
        os.chown(path, 12_345, 12_345)
    except PermissionError:
        pytest.skip("needs the right to give a file away")


def test_a_damaged_file_is_replaced_by_the_next_write(home: Path) -> None:
    cache().write(KERNELS)
    flip(home / NAME)
    again = cache()
    again.read()
    again.write(KERNELS)
    assert cache().read() == KERNELS


def test_where_nothing_can_be_written_it_is_said_and_nothing_fails(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home.parent.parent.mkdir()
    home.parent.write_bytes(b"a file where a folder should be")
    cache().write(KERNELS)
    assert "the compiled kernels are not kept" in caplog.text
    assert cache().read() is None


def test_another_writer_has_precedence(home: Path) -> None:
    home.mkdir(mode=0o700, parents=True)
    with write_lock(home / NAME):
        cache().write(KERNELS)
    assert not (home / NAME).exists()


def test_writers_at_the_same_time_leave_one_whole_file(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    contents = [bytes([number]) * 50_000 for number in range(24)]
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda kernels: cache().write(kernels), contents))
    assert cache().read() in contents
    assert caplog.text == ""
    assert sorted(path.name for path in home.iterdir()) == [NAME, RECORD]
