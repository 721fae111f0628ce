"""How many processors this process may use: its affinity, within the quota of its container.

A container's quota is not an affinity: the process sees every core of the machine, and is paused
when its threads have used up the time that the group has per period. Threads beyond the quota only
make each other wait.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from motivnet.errors import FileError
from motivnet.files import open_regular

_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_CPU = Path("/sys/devices/system/cpu")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
"""Of PyTorch, NumPy's and scikit-learn's libraries, and of OpenCV; they are read at import."""


def read_text(path: Path) -> str:
    """Return the text of a file of the kernel, whose size is given as 0; "" if it is missing."""
    try:
        with open_regular(path) as file:
            return file.read(4_000_000).decode(errors="replace")
    except (FileError, OSError):
        return ""


def usable_cores() -> set[int]:
    """Return the logical cores in this process's affinity; all of them where there is none."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def count_usable_cores() -> int:
    """Return how many threads can compute at once: the logical cores, within the quota."""
    return _within_quota(len(usable_cores()))


def count_physical_cores() -> int:
    """Return the physical cores in this process's affinity, within the quota."""
    # Hyper-threads of one core have the same list of siblings.
    siblings = {
        read_text(_CPU / f"cpu{index}/topology/thread_siblings_list").strip() or str(index)
        for index in usable_cores()
    }
    return _within_quota(len(siblings))


def threads_in_quota() -> int | None:
    """Return how many threads the quota allows; None if it allows as many as there are cores.

    For libraries that choose well without a quota and do not know of one.
    """
    count = count_usable_cores()
    return count if count < len(usable_cores()) else None


def limit_threads() -> None:
    """Keep libraries that are imported later within the quota; variables that are set stay."""
    if (count := threads_in_quota()) is not None:
        for name in THREAD_VARIABLES:
            os.environ.setdefault(name, str(count))


def core_quota(groups: Path | None = None, membership: str | None = None) -> float | None:
    """Return the cores' worth of time that this process's control groups give it; None if all.

    The smallest quota of its group and those around it, of cgroup version 2 or 1.

    Args:
        groups: Where the groups are mounted.
        membership: The text of ``/proc/self/cgroup``.
    """
    groups = groups or _GROUPS
    quotas = [
        quota
        for line in (read_text(_MEMBERSHIP) if membership is None else membership).splitlines()
        for folder in _group_folders(groups, line)
        if (quota := _quota_of(folder)) is not None
    ]
    return min(quotas, default=None)


def _within_quota(cores: int) -> int:
    quota = core_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _group_folders(groups: Path, line: str) -> Iterator[Path]:
    """Yield the folders of a line of ``/proc/self/cgroup``, from the group to the root.

    A container sees its own group as the root, also where the line has the name outside of it.
    """
    _, _, rest = line.partition(":")
    controllers, _, name = rest.partition(":")
    if controllers and "cpu" not in controllers.split(","):
        return
    # Version 1 has a folder per set of controllers, and often a link for each of them.
    mounted = [groups] if not controllers else [groups / controllers, groups / "cpu"]
    root = next((folder for folder in mounted if folder.is_dir()), groups)
    group = PurePosixPath(name.strip().lstrip("/"))
    for part in (group, *group.parents):
        if ".." not in part.parts:
            yield root / part


def _quota_of(folder: Path) -> float | None:
    text = read_text(folder / "cpu.max")  # "max 100000" or "150000 100000"
    if not text:  # version 1 has -1 without a quota
        quota, period = (read_text(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        text = f"{quota.strip()} {period.strip()}"
    match = re.fullmatch(r"(\d+) ([1-9]\d*)", text.strip())
    return int(match[1]) / int(match[2]) if match else None
