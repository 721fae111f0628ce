"""The file of a training's state: bit-exact, never torn, and never of diverged weights."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from motivnet.errors import CheckpointError, FileError, MotivNetError, TrainingError
from motivnet_training.checkpointing import read_state, write_state

WRITERS = Path(__file__).with_name("checkpoint_writers.py")
NOBODY = 65_534
OTHER_DISK = Path("/dev/shm")

Checkpoint = dict[str, Any]


def trained(*, size: int = 8) -> Checkpoint:
    """What a training saves after a step, with every kind of value that a state may hold."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(size, size), nn.BatchNorm1d(size))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.randn(4, size)).square().sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "model": model.state_dict(),
        "optimizer": [optimizer.state_dict()],
        "lr_schedulers": [{"last_epoch": 3, "_last_lr": [1e-3, 1e-5]}],
        "callbacks": {
            "best": {"score": torch.tensor(torch.inf), "path": None, "kept": ("a", True, 0.5, b"x")}
        },
        "random": torch.get_rng_state(),
        "half": torch.randn(3).to(torch.bfloat16),
    }


def save(checkpoint: Checkpoint, path: Path) -> None:
    write_state(checkpoint, path)


def load(path: Path) -> Checkpoint:
    return read_state(path)


def flat(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every value by its place; a tensor as its type, shape and bytes."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from flat(part, f"{name}/{key!r}")
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield from flat(part, f"{name}/{type(value).__name__}{number}")
    elif isinstance(value, Tensor):
        yield (
            name,
            (
                value.dtype,
                tuple(value.shape),
                value.contiguous().view(-1).view(torch.uint8).tolist(),
            ),
        )
    else:
        yield name, (type(value), value)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with a checkpoint, which no failure may change."""
    save(trained(), tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


@contextlib.contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """The file's bytes are the same after the block, and nothing is beside it."""
    before = path.read_bytes()
    yield
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.iterdir()] == [path.name]


@contextlib.contextmanager
def refused(kind: type[MotivNetError], *, match: str) -> Iterator[None]:
    """The block raises this error, in one line."""
    with pytest.raises(kind, match=match) as caught:
        yield
    assert "\n" not in str(caught.value)


def test_a_checkpoint_comes_back_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "run" / "é last.ckpt"
    save(trained(), path)
    assert dict(flat(load(path))) == dict(flat(trained()))
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_saving_holds_no_second_copy_of_the_weights(tmp_path: Path) -> None:
    program = (
        "import resource, sys, torch\n"
        "from pathlib import Path\n"
        "from motivnet_training.checkpointing import read_state, write_state\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "small, path = {'model': {'w': torch.ones(9)}}, Path(sys.argv[1])\n"
        "large = {'model': {str(number): torch.full((1 << 20,), 1.0) for number in range(20)}}\n"
        "write_state(small, path)\n"
        "before = peak()\n"
        "write_state(large, path)\n"
        "print(peak() - before)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "last.ckpt")]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (tmp_path / "last.ckpt").stat().st_size > 80_000_000
    assert grown < 40, "MiB, of 80"


@pytest.mark.timeout(120)
def test_a_writer_killed_at_any_moment_leaves_the_old_checkpoint_or_the_new_one(
    tmp_path: Path,
) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if OTHER_DISK.is_dir():
        environment["TMPDIR"] = str(OTHER_DISK)
    command = [sys.executable, WRITERS, tmp_path / "last.ckpt", "20", "20261"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    kills = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(kills) == 20
    for kill in kills:
        assert kill["seen"] in (kill["old"], kill["new"]), kill
        assert (kill["next"], kill["swept"]) == (kill["new"], ["last.ckpt"]), kill
    assert any(kill["left"] for kill in kills), "a kill must fall into a save"


def test_a_full_disk_is_one_line_and_leaves_the_old_checkpoint(small_disk: Path) -> None:
    path = small_disk / "last.ckpt"
    save(trained(), path)
    with (
        unchanged(path),
        refused(FileError, match=r"last\.ckpt was not written: No space left on device"),
    ):
        save(trained(size=400), path)
    save(trained(size=16), path)
    assert dict(flat(load(path))) == dict(flat(trained(size=16)))


@pytest.mark.usefixtures("file_size_limit")
def test_a_file_beyond_the_limit_is_one_line_and_leaves_the_old_checkpoint(old: Path) -> None:
    with unchanged(old), refused(FileError, match=r"last\.ckpt was not written: File too large"):
        save(trained(size=400), old)


def test_a_folder_without_permission_is_one_line(tmp_path: Path) -> None:
    """No mode stops the superuser, who therefore steps down for the test."""
    folder, superuser = Path(tempfile.mkdtemp()), os.geteuid() == 0
    folder.chmod(0o555)
    if superuser:
        os.seteuid(NOBODY)
    try:
        with refused(FileError, match=r"last\.ckpt cannot be written: Permission denied"):
            save(trained(), folder / "last.ckpt")
        assert not list(folder.iterdir())
    finally:
        if superuser:
            os.seteuid(0)
        folder.rmdir()


class _Interrupted:
    """A file whose fifth write is interrupted, as by the handler of Ctrl-C."""

    def __init__(self, file: Any, error: BaseException) -> None:
        self.file = file
        self.error = error
        self.writes = 0

    def write(self, data: Any) -> int:
        self.writes += 1
        if self.writes == 5:
            raise self.error
        return int(self.file.write(data))

    def flush(self) -> None:
        self.file.flush()


@pytest.mark.parametrize(
    "stopped_by", [KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")]
)
def test_what_stops_the_writing_is_what_is_raised(
    stopped_by: BaseException, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(checkpoint: object, file: Any) -> None:
        real(checkpoint, _Interrupted(file, stopped_by))

    real = torch.save
    monkeypatch.setattr(torch, "save", interrupted)
    expected = FileError if isinstance(stopped_by, OSError) else KeyboardInterrupt
    with unchanged(old), pytest.raises(expected):
        save(trained(), old)


def test_a_mistake_of_ours_while_another_error_is_handled_is_told_as_itself(old: Path) -> None:
    shared = torch.ones(4)
    with unchanged(old):
        try:
            raise OSError(errno.ENOSPC, "of something else")
        except OSError:
            with pytest.raises(RuntimeError, match="view the same data as different types"):
                save({"a": shared, "b": shared.view(torch.int32)}, old)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(
    ("place", "name"),
    [
        (lambda saved: saved["model"]["0.weight"], r"model\.0\.weight"),
        (
            lambda saved: saved["optimizer"][0]["state"][2]["exp_avg"],
            r"optimizer\.0\.state\.2\.exp_avg",
        ),
    ],
    ids=["weight", "optimizer"],
)
def test_a_diverged_training_reaches_no_file(
    place: Callable[[Checkpoint], Tensor], name: str, value: float, old: Path
) -> None:
    diverged = trained()
    place(diverged).view(-1)[3] = value
    with (
        unchanged(old),
        refused(
            TrainingError, match=rf"last\.ckpt was not written: NaN or infinite values in {name};"
        ),
    ):
        save(diverged, old)


def test_of_many_diverged_tensors_the_first_are_named(old: Path) -> None:
    weights = {
        f"w{number}": torch.full((2,), torch.nan, dtype=torch.bfloat16) for number in range(20)
    }
    with (
        unchanged(old),
        refused(TrainingError, match=r"in model\.w0, model\.w1, .*w7 and 12 more;"),
    ):
        save({"model": weights}, old)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (pathlib.PurePosixPath("/run"), "asks for the Python object pathlib.PurePosixPath"),
        (signal.SIGTERM, "asks for the Python object signal.Signals"),
        (
            torch.ones(1).expand(100, 100),
            "claim more than the bytes that the file gives them: extra",
        ),
    ],
    ids=["path", "enum", "expanded"],
)
def test_what_could_not_be_loaded_again_is_not_written(
    value: object, message: str, old: Path
) -> None:
    with (
        unchanged(old),
        refused(CheckpointError, match=f"last.ckpt was not written: read back, it .*{message}"),
    ):
        save(trained() | {"extra": value}, old)


def test_a_file_that_reads_back_damaged_does_not_take_the_place(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(checkpoint: object, file: Any) -> None:
        real(checkpoint, file)
        file.seek(-3_000, os.SEEK_END)
        file.write(b"\xff\x00\xff")

    real = torch.save
    monkeypatch.setattr(torch, "save", damaged)
    with (
        unchanged(old),
        refused(CheckpointError, match="was not written: read back, it is .*damaged"),
    ):
        save(trained(), old)


def test_values_that_hold_themselves_are_not_written(old: Path) -> None:
    circle: list[object] = [torch.ones(1)]
    circle.append(circle)
    with (
        unchanged(old),
        refused(CheckpointError, match="read back, it holds a value that holds itself"),
    ):
        save({"model": {"x": circle}}, old)
