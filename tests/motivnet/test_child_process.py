"""Child processes: what they import, what they exchange with their parent, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from motivnet import child_process
from motivnet.child_process import (
    ChildProcess,
    Connection,
    describe_exit,
    isolated_module,
    last_line,
    search_path,
)
from motivnet.schema import Schema, SchemaError

PLANTED = ("encodings", "json", "numpy", "runpy", "sitecustomize", "usercustomize")


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of modules, and the variables by which a Python finds them there."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in PLANTED:
        (folder / f"{name}.py").write_text("raise SystemExit('a planted module ran')\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep)
    monkeypatch.setenv("PYTHONSTARTUP", str(folder / "json.py"))
    return folder


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module in a folder that this process alone looks into."""
    folder = tmp_path / "tools"
    folder.mkdir()
    text = "import json, sys, numpy\nprint(json.dumps([__name__, sys.argv[1:], sys.path]))\n"
    (folder / "planted_tool.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    return folder


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_nothing_of_the_working_directory_is_imported(hostile: Path, tool: Path) -> None:
    done = run(isolated_module("planted_tool", "first", "second"))
    assert done.returncode == 0, done.stderr
    name, arguments, path = json.loads(done.stdout)
    assert (name, arguments) == ("__main__", ["first", "second"])
    assert path == search_path()
    assert str(tool) in path
    assert str(hostile) not in path


def test_the_modules_that_are_planted_would_run_otherwise(hostile: Path, tool: Path) -> None:
    done = run([sys.executable, "-P", "-c", "import numpy"])
    assert "a planted module ran" in done.stderr


@pytest.mark.parametrize("entry", ["", "relative", "."])
def test_what_is_relative_to_the_working_directory_is_left_out(
    entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [entry, *sys.path])
    assert all(Path(found).is_absolute() for found in search_path())


def test_the_working_directory_is_left_out_under_any_name(
    hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(hostile)
    monkeypatch.setattr(sys, "path", [str(hostile), str(tmp_path / "link"), *sys.path])
    assert not {str(hostile), str(tmp_path / "link")} & set(search_path())


def test_a_checkout_of_this_toolkit_may_be_the_working_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import motivnet

    root = Path(motivnet.__file__).parents[1]
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "path", [str(root), *sys.path])
    assert str(root) in search_path()


PARENT = """
import subprocess
from motivnet.child_process import isolated_module
command = isolated_module("planted_tool")
print(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
"""


def test_an_editable_installation_of_the_user_starts_its_children(tmp_path: Path) -> None:
    """``pip install --user --editable`` leaves a ``.pth`` file, which ``-I`` ignores."""
    import motivnet

    # A virtual environment has no site of the user's.
    python = getattr(sys, "_base_executable", sys.executable)
    variables = {"PYTHONUSERBASE": str(tmp_path / "user")}
    asked = [python, "-c", "import site; print(site.getusersitepackages())"]
    packages = Path(
        subprocess.run(
            asked, env=variables, capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    packages.mkdir(parents=True)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "planted_tool.py").write_text(
        "import motivnet\nprint('started', motivnet.__file__)\n"
    )
    root = Path(motivnet.__file__).parents[1]
    (packages / "_editable_impl_motivnet.pth").write_text(
        f"{root}\n{tmp_path / 'tools'}\n{Path(msgspec.__file__).parents[1]}\n"
    )
    line = [python, "-c", PARENT]
    done = subprocess.run(
        line, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["started", motivnet.__file__], done.stderr


def test_a_working_directory_that_is_gone_is_no_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert search_path() == [entry for entry in sys.path if Path(entry).is_absolute()]


class Question(Schema, frozen=True, kw_only=True, tag=True):
    text: str


class Task(Schema, frozen=True, kw_only=True, tag=True):
    name: str


CHILD = """
import os, signal, sys, time
from motivnet.child_process import connect_to_parent
from test_messages import Question
parent = connect_to_parent()
print("arguments", *sys.argv[1:], flush=True)
while (question := parent.receive(Question)) is not None:
    if question.text == "exit":
        sys.exit("a last\\twish")
    if question.text == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if question.text == "sleep":
        time.sleep(60)
    parent.send(Question(text=question.text.upper()))
"""
MESSAGES = """
from motivnet.schema import Schema
class Question(Schema, frozen=True, kw_only=True, tag=True):
    text: str
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ChildProcess]]:
    """A function that starts the child above, which is ended after the test."""
    (tmp_path / "test_messages.py").write_text(MESSAGES)
    (tmp_path / "test_child.py").write_text(CHILD)
    monkeypatch.syspath_prepend(tmp_path)
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(
            ChildProcess("test_child", *arguments, **options)
        )


def ended(child: ChildProcess) -> bool:
    return not Path(f"/proc/{child.process_id}").exists()


def test_a_child_answers_and_what_it_prints_is_kept(start: Callable[..., ChildProcess]) -> None:
    child = start("first", "second", environment={"EXTRA": "1"})
    child.messages.send(Question(text="one"))
    assert child.messages.receive(Question) == Question(text="ONE")
    assert child.output() == "arguments first second\n"
    child.messages.end_sending()
    assert child.messages.receive(Question) is None
    assert child.wait() == 0


def test_a_child_that_ends_is_heard_and_told_of(start: Callable[..., ChildProcess]) -> None:
    child = start()
    child.messages.send(Question(text="exit"))
    assert child.messages.receive(Question) is None
    assert describe_exit(child.wait()) == "ended with status 1"
    assert last_line(child.output()) == "a last wish"
    child.messages.send(Question(text="after its end"))  # nothing happens


def test_a_child_that_is_killed_is_told_of(start: Callable[..., ChildProcess]) -> None:
    child = start()
    child.messages.send(Question(text="kill"))
    assert child.messages.receive(Question) is None
    assert "SIGKILL, most often because the memory ran out" in describe_exit(child.wait())


def test_ctrl_c_at_the_terminal_does_not_reach_a_child(start: Callable[..., ChildProcess]) -> None:
    child = start()
    assert os.getsid(child.process_id) != os.getsid(0)
    assert os.getpgid(child.process_id) != os.getpgid(0)


@pytest.mark.parametrize("question", ["one", "exit", "kill"])
def test_a_child_leaves_no_descriptor_open(
    start: Callable[..., ChildProcess], question: str
) -> None:
    before = os.listdir("/proc/self/fd")
    with start() as child:
        child.messages.send(Question(text=question))
        child.messages.receive(Question)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("stopped", [False, True])
def test_a_child_is_gone_after_the_block(start: Callable[..., ChildProcess], stopped: bool) -> None:
    with start() as child:
        child.messages.send(Question(text="sleep"))
        if stopped:
            child.signal(signal.SIGSTOP)
    assert ended(child)
    child.close()


def test_a_child_may_end_by_itself_within_the_grace(start: Callable[..., ChildProcess]) -> None:
    with start(grace=60) as child:
        child.messages.send(Question(text="one"))
        child.messages.receive(Question)
    assert child.wait() == 0


PARENT_THAT_DIES = """
import os, sys
from motivnet.child_process import ChildProcess
child = ChildProcess("test_child")
from test_messages import Question
child.messages.send(Question(text="sleep"))
print(child.process_id, flush=True)
child.messages.receive(Question, timeout=0.01)
"""


def test_a_child_dies_with_its_parent(start: Callable[..., ChildProcess], tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", PARENT_THAT_DIES],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert "TimeoutError: no message within 0.01 s" in done.stderr
    process = Path(f"/proc/{done.stdout.strip()}")
    while process.exists() and "\nState:\tZ" not in (process / "status").read_text():
        time.sleep(0.001)


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Connection, Connection]]:
    """Two connections to each other, which take messages of 100 bytes."""
    monkeypatch.setattr(child_process, "MAX_MESSAGE", 100)
    (first_in, second_out), (second_in, first_out) = os.pipe(), os.pipe()
    first = Connection(first_in, first_out)
    second = Connection(second_in, second_out)
    yield first, second
    first.close()
    second.close()


def test_messages_arrive_in_order_with_their_types(pair: tuple[Connection, Connection]) -> None:
    first, second = pair
    assert not first.has_input()
    second.send(Question(text="a\nb\u2028\udcff"))
    second.send(Task(name="c"))
    assert first.has_input()
    assert first.receive(Question | Task) == Question(text="a\nb\u2028?")
    assert first.has_input()  # the second was read with the first
    assert first.receive(Question | Task, timeout=0) == Task(name="c")
    with pytest.raises(TimeoutError, match="no message within 0 s"):
        first.receive(Task, timeout=0)
    second.close()
    assert first.has_input()
    assert first.receive(Task) is None


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"no JSON\n", "not JSON"),
        (b'{"type": "Task", "name": 1}\n', "name: Expected `str`"),
        (b'{"type": "Other"}\n', "Other"),
        (b"x" * 200, "longer than 100 bytes"),
        (b"[]\n", "Expected `object`"),
    ],
)
def test_what_is_no_message_is_refused(
    pair: tuple[Connection, Connection], line: bytes, problem: str
) -> None:
    first, second = pair
    second._writer.write(line)
    second.close()
    with pytest.raises(SchemaError, match=problem):
        first.receive(Task)


def test_half_a_message_is_the_end(pair: tuple[Connection, Connection]) -> None:
    first, second = pair
    second._writer.write(b'{"type": "Task"')
    second.close()
    assert first.receive(Task) is None
    first.send(Task(name="to nobody"))


def test_a_message_of_nan_is_a_fault_of_the_sender(pair: tuple[Connection, Connection]) -> None:
    with pytest.raises(SchemaError, match="NaN"):
        pair[1].send({"seconds": float("nan")})
