"""The processors that this process may use: affinity, hyper-threads, and a container's quota."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from motivnet import processors
from motivnet.processors import (
    THREAD_VARIABLES,
    core_quota,
    count_physical_cores,
    count_usable_cores,
    limit_threads,
    threads_in_quota,
)

V2, V1 = "0::/pod/app\n", "9:name=systemd:/\n4:memory:/x\n3:cpu,cpuacct:/docker/1f\n"


def write_groups(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


@pytest.mark.parametrize(
    ("files", "membership", "quota"),
    [
        ({"cpu.max": "150000 100000"}, "0::/\n", 1.5),
        ({"cpu.max": "max 100000"}, "0::/\n", None),
        ({"cpu.max": "100000 0"}, "0::/\n", None),
        ({}, "0::/\n", None),
        ({}, "", None),
        ({"pod/app/cpu.max": "50000 100000"}, V2, 0.5),
        # A group's quota holds for the groups in it.
        ({"pod/cpu.max": "300000 100000", "pod/app/cpu.max": "max 100000"}, V2, 3.0),
        ({"pod/cpu.max": "300000 100000", "pod/app/cpu.max": "200000 100000"}, V2, 2.0),
        # A container may see its group as the root, and its name as it is outside.
        ({"cpu.max": "400000 100000"}, V2, 4.0),
        ({"cpu.max": "400000 100000"}, "0::/../../elsewhere\n", 4.0),
        (
            {"cpu,cpuacct/cpu.cfs_quota_us": "250000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            V1,
            2.5,
        ),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, V1, None),
        (
            {
                "cpu/docker/1f/cpu.cfs_quota_us": "100000",
                "cpu/docker/1f/cpu.cfs_period_us": "100000",
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
            },
            V1,
            1.0,
        ),
        ({"memory/x/cpu.max": "100000 100000"}, V1, None),
    ],
)
def test_the_quota_is_the_smallest_of_the_group_and_those_around_it(
    files: dict[str, str], membership: str, quota: float | None, tmp_path: Path
) -> None:
    assert core_quota(write_groups(tmp_path, files), membership) == quota


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that makes a machine of two cores with two threads each, and a quota."""
    for index, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        write_groups(tmp_path, {f"cpu{index}/topology/thread_siblings_list": siblings})
    monkeypatch.setattr(processors, "_CPU", tmp_path)
    monkeypatch.setattr(processors, "_GROUPS", tmp_path)
    monkeypatch.setattr(processors, "_MEMBERSHIP", tmp_path / "cgroup")
    monkeypatch.setattr(processors, "usable_cores", lambda: {0, 1, 2, 3})

    def limit(quota: str) -> None:
        write_groups(tmp_path, {"cpu.max": f"{quota} 100000", "cgroup": "0::/"})

    return limit


@pytest.mark.parametrize(
    ("quota", "threads", "physical"),
    [("max", 4, 2), ("900000", 4, 2), ("300000", 3, 2), ("150000", 2, 2), ("50000", 1, 1)],
)
def test_threads_are_within_the_quota_rounded_up(
    quota: str, threads: int, physical: int, machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(quota)
    assert (count_usable_cores(), count_physical_cores()) == (threads, physical)
    assert threads_in_quota() == (None if threads == 4 else threads)
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(THREAD_VARIABLES[0], "7")
    limit_threads()
    assert os.environ[THREAD_VARIABLES[0]] == "7"
    assert os.environ.get(THREAD_VARIABLES[1]) == (None if threads == 4 else str(threads))


@pytest.mark.process
def test_libraries_read_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import cv2, torch; print(cv2.getNumThreads(), torch.get_num_threads())"
    for name in THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 1\n"


@pytest.fixture
def group_of_one_core() -> Iterator[Path]:
    """A control group in another one, which has the time of one core: of version 1."""
    outer = Path(f"/sys/fs/cgroup/cpu/motivnet-test-{os.getpid()}")
    inner = outer / "inner"
    try:
        inner.mkdir(parents=True)
        (outer / "cpu.cfs_quota_us").write_text("100000")
    except OSError:
        pytest.skip("needs the right to make a control group of version 1")
    try:
        yield inner
    finally:
        inner.rmdir()
        outer.rmdir()


@pytest.mark.process
@pytest.mark.skipif(len(processors.usable_cores()) < 2, reason="needs two cores")
def test_a_real_group_limits_the_threads(group_of_one_core: Path) -> None:
    program = (
        "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid()))\n"
        "from motivnet.processors import core_quota, count_usable_cores, threads_in_quota\n"
        "print(core_quota(), count_usable_cores(), threads_in_quota())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(group_of_one_core / "cgroup.procs")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1.0 1 1\n"
