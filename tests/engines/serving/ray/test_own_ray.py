"""A Ray that the command starts on this machine is this user's alone."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]


@dataclass
class Seen:
    """Where the processes of a run listened, and what others could do to its files."""

    listened: set[str] = field(default_factory=set)
    entered: set[str] = field(default_factory=set)
    folders: set[Path] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    environments: set[str] = field(default_factory=set)

    def look(self, process: psutil.Process) -> None:
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                found = one.net_connections("inet")
                self.listened |= {
                    link.laddr.ip for link in found if link.status == psutil.CONN_LISTEN
                }
                self.words.add(" ".join(one.cmdline()))
                self.environments.add(one.environ().get("RAY_AUTH_TOKEN", ""))
        for folder in Path("/tmp").glob("motivnet-ray-*"):
            with contextlib.suppress(OSError):
                self.folders.add(folder)
                if stat.S_IMODE(folder.stat().st_mode) & 0o077:
                    self.entered.add(str(folder))


@dataclass(kw_only=True)
class Run:
    """How the command ended, in which folder it was, and what was seen of it."""

    status: int
    folder: Path
    home: Path
    seen: Seen


@pytest.fixture(scope="module")
def run(fp32_artifact: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder, home = tmp_path_factory.mktemp("folder"), tmp_path_factory.mktemp("home")
    for name in ("PIL", "onnxruntime", "json", "pyarrow"):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'ran')!r}, 'a').write({name!r})\n")
    (folder / "list.txt").write_text("\n".join(str(path) for path in sorted(photos.iterdir())[:10]))
    before = set(Path("/tmp").glob("motivnet-ray-*"))
    words = "predict-dataset list.txt --no-detect --allow-outside --workers 1 --shard-size 5"
    command = [sys.executable, "-P", "-m", "motivnet_engines.cli", *words.split()]
    command += ["--artifact", str(fp32_artifact), "--out", str(folder / "out")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    driver = subprocess.Popen(
        command, cwd=folder, env={**environment, "HOME": str(home)}, umask=0o022
    )
    seen, process, end = Seen(), psutil.Process(driver.pid), time.monotonic() + 150
    try:
        while driver.poll() is None and time.monotonic() < end:
            with contextlib.suppress(psutil.Error):
                seen.look(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                driver.wait(0.3)
    finally:
        driver.terminate()  # Ray ends its own processes then
        driver.wait(30)
    seen.folders -= before
    return Run(status=driver.returncode, folder=folder, home=home, seen=seen)


def test_it_listens_on_loopback_alone(run: Run) -> None:
    assert run.status == 1  # one of the photos is none
    assert {ip.removeprefix("::ffff:") for ip in run.seen.listened} == {"127.0.0.1"}


def test_its_folder_is_closed_to_others_and_gone_afterwards(run: Run) -> None:
    assert len(run.seen.folders) == 1
    assert run.seen.entered == set()
    assert not any(folder.exists() for folder in run.seen.folders)


def test_its_token_is_in_no_file_and_on_no_command_line(run: Run) -> None:
    [token] = run.seen.environments - {""}
    assert len(token) == 64
    assert not any(token in words for words in run.seen.words)
    assert not (run.home / ".ray").exists()


def test_code_of_the_working_directory_does_not_run_in_workers(run: Run) -> None:
    assert not (run.folder / "ran").exists()


def test_what_it_writes_is_whole(run: Run) -> None:
    assert len(list((run.folder / "out").glob("part-*.parquet"))) == 2
