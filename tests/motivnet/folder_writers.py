"""Writers of a folder that are killed, and what they leave; prints one JSON object per kill.

It is a program because it forks: the process of the tests has threads, and forking it costs more.

    random FOLDER COUNT SEED            replaces the folder in a loop, killed at random moments
    steps FOLDER                        replaces it once, killed before its k-th step, for every k
    steps-without-exchange FOLDER       the same without RENAME_EXCHANGE
    keeping FOLDER                      as steps, with files of a user in the folder
    keeping-without-exchange FOLDER
    hold FOLDER                         says "ready" and then waits to be killed
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from motivnet import folders
from motivnet.folders import atomic_folder

NAMES = ("manifest.json", "model.onnx", "model.onnx.data", "sub/notes.txt")
USERS = ("notes", "sub/more notes", "photos/2026/a.jpg")
STEPS = ("os.", "open", "fcntl.", "ctypes.dlsym")


class AbandonedError(Exception):
    """Ends a writer's block before it has written."""


def everything(folder: Path) -> list[str]:
    """Every file may go."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()]


def write_version(folder: Path, version: int) -> None:
    """Replaces the folder by one in which every file tells the version."""
    with atomic_folder(folder, own=lambda _: NAMES, others="keep") as temporary:
        (temporary / "sub").mkdir()
        for name in NAMES:
            (temporary / name).write_text(f"{version} {name}\n" * 2_000)


def version_of(folder: Path) -> int | str:
    """The version of a whole folder; what is wrong with any other."""
    if not folder.is_dir():
        return "absent"
    found = {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }
    found = {name: text for name, text in found.items() if name not in USERS}
    if set(found) != set(NAMES):
        return f"files {sorted(found)}"
    versions = {text.split(" ")[0] for text in found.values()}
    first = min(versions)
    whole = all(text == f"{first} {name}\n" * 2_000 for name, text in found.items())
    return int(first) if whole else f"a mixture of {sorted(versions)}"


def users_files(folder: Path) -> list[str]:
    """Which of the user's files are whole."""
    return [
        name for name in USERS if (folder / name).exists() and (folder / name).read_text() == name
    ]


def write_users_files(folder: Path) -> None:
    for name in USERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def recovered(folder: Path) -> int | str:
    """Return the version after the next writer has begun and given up."""
    with (
        contextlib.suppress(AbandonedError),
        atomic_folder(folder, own=lambda _: NAMES, others="keep"),
    ):
        raise AbandonedError
    return version_of(folder)


def forked(work: Callable[[], None]) -> int:
    """Do the work in a child that always ends here; return its process id."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def report(folder: Path, **facts: object) -> None:
    seen = version_of(folder)
    left = len(os.listdir(folder.parent))
    facts |= {"seen": seen, "left": left, "users": users_files(folder)}
    facts |= {"recovered": recovered(folder), "swept": os.listdir(folder.parent)}
    facts |= {"kept": users_files(folder)}
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def kill_at_random(folder: Path, count: int, seed: int) -> None:
    draw, written = random.Random(seed), 3
    began = time.perf_counter()
    for version in range(written + 1):
        write_version(folder, version)
    # Two replacements, however slow the disk.
    longest = min(1.0, 0.5 * (time.perf_counter() - began))
    for _ in range(count):
        read_end, write_end = os.pipe()

        def replace_forever(first: int = written + 1, pipe: int = write_end) -> None:
            for version in range(first, first + 10_000):
                write_version(folder, version)
                os.write(pipe, f"{version} ".encode())

        child = forked(replace_forever)
        time.sleep(draw.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(write_end)
        finished = b""
        while select.select([read_end], [], [], 0)[0] and (chunk := os.read(read_end, 65_536)):
            finished += chunk
        os.close(read_end)
        written = int(finished.split()[-1]) if finished else written
        report(folder, old=written, new=written + 1)
        seen = version_of(folder)
        written = seen if isinstance(seen, int) else written


def kill_before_step(folder: Path, step: int) -> bool:
    """Kill the writer before its ``step``-th call that touches files; False if it has fewer."""

    def write_until_killed() -> None:
        remaining = step

        def count(event: str, _: tuple[object, ...]) -> None:
            nonlocal remaining
            if event.startswith(STEPS):
                remaining -= 1
                if remaining == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        write_version(folder, 2)

    _, status = os.waitpid(forked(write_until_killed), 0)
    return os.WIFSIGNALED(status)


def kill_at_every_step(folder: Path, *, keeping: bool) -> None:
    step, killed = 0, True
    while killed:
        step += 1
        write_version(folder, 1)
        if keeping:
            write_users_files(folder)
        killed = kill_before_step(folder, step)
        report(folder, old=1, new=2, step=step, killed=killed)


def hold(folder: Path) -> None:
    with atomic_folder(folder, own=everything) as temporary:
        (temporary / "half").write_text("half")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        time.sleep(60)


def main(what: str, folder: Path, *numbers: str) -> None:
    vars(os)["fsync"] = lambda descriptor: (
        None
    )  # matters when the power fails, not when a process does
    if what == "random":
        kill_at_random(folder, *(int(number) for number in numbers))
    elif what == "hold":
        hold(folder)
    else:
        if what.endswith("-without-exchange"):
            folders._exchange = lambda first, second: False
        kill_at_every_step(folder, keeping=what.startswith("keeping"))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
