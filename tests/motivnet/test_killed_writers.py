"""Several writers of one folder, and writers that are killed at any moment."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motivnet import workspace
from motivnet.errors import FileError
from motivnet.folders import atomic_folder

Tree = Callable[[Path], dict[str, str]]


WRITERS = Path(__file__).with_name("folder_writers.py")

pytestmark = pytest.mark.timeout(60)


def everything(folder: Path) -> list[str]:
    """Every file may go."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()]


def fill(path: Path, text: str, *, own: Callable[[Path], list[str]] = everything) -> None:
    with atomic_folder(path, own=own) as temporary:
        (temporary / text).write_text(text)


def test_a_second_writer_of_a_folder_is_told_so_at_once(tmp_path: Path, tree: Tree) -> None:
    with atomic_folder(tmp_path / "out", own=everything) as temporary:
        (temporary / "first").write_text("first")
        with pytest.raises(
            FileError,
            match="out is being written by another process; wait for it or choose another",
        ):
            fill(tmp_path / "out", "second")
        fill(tmp_path / "beside", "other")
    assert set(tree(tmp_path)) == {"out", "out/first", "beside", "beside/other"}


def test_the_lock_of_a_killed_writer_is_free_and_its_leftovers_go(
    tmp_path: Path, tree: Tree
) -> None:
    with subprocess.Popen(
        [sys.executable, WRITERS, "hold", tmp_path / "out"], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        with pytest.raises(FileError, match="is being written by another process"):
            fill(tmp_path / "out", "new")
        holder.kill()
    assert holder.returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 2, "the lock and the half-written folder"
    fill(tmp_path / "out", "new")
    assert tree(tmp_path) == {"out": "folder", "out/new": "new"}


def test_of_many_writers_each_finishes_or_is_told_and_the_lock_never_admits_two(
    tmp_path: Path, tree: Tree
) -> None:
    inside, most, finished, told = 0, 0, 0, 0
    counting = threading.Lock()

    def write(number: int) -> None:
        nonlocal inside, most, finished, told
        for _ in range(25):
            try:
                with atomic_folder(tmp_path / "out", own=everything) as temporary:
                    with counting:
                        inside, most = inside + 1, max(most, inside + 1)
                    for name in ("a", "b"):
                        (temporary / name).write_text(str(number))
                    with counting:
                        inside, finished = inside - 1, finished + 1
            except FileError as error:
                told += "is being written by another process" in str(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert most == 1
    assert finished >= 1
    assert finished + told == 200
    assert (tmp_path / "out" / "a").read_text() == (tmp_path / "out" / "b").read_text()
    assert set(tree(tmp_path)) == {"out", "out/a", "out/b"}


def kills(*arguments: object) -> list[dict[str, Any]]:
    """What was seen after each kill."""
    run = subprocess.run(
        [sys.executable, WRITERS, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_a_writer_killed_at_any_moment_leaves_the_old_folder_or_the_new_one(tmp_path: Path) -> None:
    seen = kills("random", tmp_path / "out", 100, 20_261)
    assert len(seen) == 100
    for kill in seen:
        assert kill["seen"] in (kill["old"], kill["new"]), kill
        assert (kill["recovered"], kill["swept"]) == (kill["seen"], ["out"]), kill
    assert {kill["seen"] - kill["old"] for kill in seen} == {0, 1}, (
        "the kills must fall before and after the exchange"
    )


@pytest.mark.parametrize("what", ["steps", "steps-without-exchange"])
def test_a_writer_killed_before_any_of_its_steps_leaves_the_old_folder_or_the_new_one(
    what: str, tmp_path: Path
) -> None:
    *killed, whole = kills(what, tmp_path / "out")
    assert len(killed) > 30
    assert not whole["killed"]
    assert whole["seen"] == 2
    absent = [kill["step"] for kill in killed if kill["seen"] == "absent"]
    assert len(absent) == (what == "steps-without-exchange"), "only the moment between two renames"
    for kill in killed:
        assert (kill["killed"], kill["swept"]) == (True, ["out"]), kill
        assert kill["recovered"] in (1, 2), kill
        assert kill["seen"] in (kill["recovered"], "absent"), kill
    assert {kill["recovered"] for kill in killed} == {1, 2}


@pytest.mark.parametrize("what", ["keeping", "keeping-without-exchange"])
def test_no_file_of_a_user_is_lost_to_a_writer_killed_before_any_of_its_steps(
    what: str, tmp_path: Path
) -> None:
    *killed, whole = kills(what, tmp_path / "out")
    assert len(killed) > 50
    users = ["notes", "sub/more notes", "photos/2026/a.jpg"]
    for kill in (*killed, whole):
        assert kill["kept"] == users, kill
        assert kill["users"] == (users if kill["seen"] != "absent" else []), kill
        assert kill["swept"] == ["out"], kill
        assert kill["recovered"] in (1, 2), kill
    assert {kill["recovered"] for kill in killed} == {1, 2}


def test_a_lock_file_that_its_owner_removes_meanwhile_is_not_taken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, removed = tmp_path / "lock", fcntl.flock, []

    def remove_before_the_first_lock(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append(path.unlink())
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_before_the_first_lock)
    descriptor = workspace._lock(path)
    assert descriptor is not None
    assert path.exists()
    assert workspace._lock(path) is None
    os.close(descriptor)
