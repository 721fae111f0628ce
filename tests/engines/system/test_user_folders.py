"""Folders of this user: used only if nobody else can write into them."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from motivnet.errors import FileError
from motivnet_engines.system.user_folders import (
    check_private,
    make_private,
    user_cache,
    user_home,
    user_state,
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.mark.parametrize(
    ("folder", "variable", "below_home"),
    [(user_cache, "XDG_CACHE_HOME", ".cache"), (user_state, "XDG_STATE_HOME", ".local/state")],
)
def test_the_place_is_that_of_the_xdg_specification(
    folder: Callable[[], Path],
    variable: str,
    below_home: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert folder() == home / below_home / "motivnet"
    monkeypatch.setenv(variable, "relative")
    assert folder() == home / below_home / "motivnet"
    monkeypatch.setenv(variable, str(tmp_path / "named"))
    assert folder() == tmp_path / "named" / "motivnet"
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("unknown", ["relative", "."])
def test_without_a_home_there_is_no_folder_and_least_of_all_one_of_the_working_directory(
    unknown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", unknown)
    with pytest.raises(
        FileError, match="this user has no home folder; set XDG_CACHE_HOME to a folder of yours"
    ):
        user_cache()


def test_a_user_whom_nothing_knows_has_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert user_home() is None


def test_a_folder_is_made_for_the_user_alone_with_all_that_leads_to_it(home: Path) -> None:
    before = os.umask(0)
    try:
        folder = make_private(user_cache())
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)] == [0o700, 0o700]


@pytest.mark.parametrize("mode", [0o777, 0o702, 0o1777])
def test_a_folder_that_others_can_write_into_is_refused_with_the_line_that_closes_it(
    mode: int, home: Path
) -> None:
    folder = make_private(user_cache())
    folder.chmod(mode)
    with pytest.raises(
        FileError, match=rf"others can write into {folder}, .* chmod go-w {folder}$"
    ):
        user_cache()
    folder.chmod(0o755)
    assert user_cache() == folder


def test_nor_may_others_write_into_a_folder_above(home: Path) -> None:
    home.chmod(0o777)
    with pytest.raises(FileError, match=f"others can write into {home}"):
        user_cache()


def test_others_may_write_into_one_above_where_only_owners_move_things(home: Path) -> None:
    home.chmod(0o1777)
    assert make_private(user_cache()).is_dir()


def test_where_a_link_leads_to_counts(home: Path, tmp_path: Path) -> None:
    (tmp_path / "open" / "cache").mkdir(parents=True)
    (home / ".cache").symlink_to(tmp_path / "open" / "cache")
    assert user_cache() == home / ".cache" / "motivnet"
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(FileError, match=f"others can write into {tmp_path / 'open'}"):
        user_cache()


def test_a_folder_of_another_users_is_refused(home: Path) -> None:
    folder = make_private(user_cache())
    try:
        os.chown(folder, 12_345, -1)
    except PermissionError:
        pytest.skip("needs the right to give a folder away")
    with pytest.raises(FileError, match=f"{folder} belongs to another user"):
        user_cache()


@pytest.mark.parametrize(("group", "allowed"), [(0, True), (12_345, False)])
def test_a_group_may_write_where_it_is_roots_or_the_users_own(
    group: int, allowed: bool, home: Path
) -> None:
    folder = make_private(user_cache())
    try:
        os.chown(folder, -1, group)
    except PermissionError:
        pytest.skip("needs the right to give a folder to a group")
    folder.chmod(0o770)
    if allowed:
        check_private(folder)
    else:
        with pytest.raises(FileError, match="others can write"):
            check_private(folder)


def test_a_folder_that_cannot_be_made_is_one_line(home: Path) -> None:
    (home / ".cache").write_bytes(b"")
    with pytest.raises(FileError, match="cannot be written: Not a directory"):
        make_private(user_cache())
