"""What every command does: exit statuses, one-line errors, help, completion, interruptions."""

from __future__ import annotations

import functools
import io
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image

from motivnet import __version__
from motivnet.command_line import print_json, warn
from motivnet.command_line import run as run_app
from motivnet.terminal import progress

COMMANDS = Path(__file__).with_name("commands.py")

pytestmark = pytest.mark.timeout(60)


def program(*arguments: str, default: bool = False) -> list[str]:
    return [sys.executable, str(COMMANDS), "with-default" if default else "plain", *arguments]


@functools.cache
def run(*arguments: str, default: bool = False) -> subprocess.CompletedProcess[str]:
    """What the program prints; the same arguments are run once."""
    return subprocess.run(
        program(*arguments, default=default), capture_output=True, text=True, check=False
    )


def test_a_users_mistake_is_one_printable_line_and_exit_status_one() -> None:
    done = run("mistake")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: a.png does not exist; \\x1b[31mchoose\\u202e another\n"


@pytest.mark.parametrize(
    "text", [r"\x1b[31m[/x]", r"\x1b]52;c;aGk=\x07", r"\x9b2J", r"a\u202eb\u200b", r"\x00\x08"]
)
def test_no_word_of_anyone_reaches_a_terminal_unescaped(text: str) -> None:
    done = run("foreign", text)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ValueError: ")
    for output in (done.stdout, done.stderr):
        assert output.replace("\n", "").isprintable()
        assert output.count(text) >= 3


def test_a_foreign_line_end_begins_no_line_of_ours() -> None:
    done = run("foreign", r"a\nerror: b")
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] == [
        "error: b"
    ]  # of the traceback


@pytest.mark.parametrize(
    "arguments",
    [["first", "a\nerror: b\x1b"], ["fir\nerror: st"], ["--a\nerror: b"], ["first", "-\n"]],
)
def test_a_usage_error_is_one_line_of_what_the_user_wrote(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.replace("\n", "").isprintable()
    first_words = [line.split()[0] for line in done.stderr.splitlines() if line]
    assert first_words == ["Usage:", "Try", "Error:"]


@pytest.mark.parametrize(
    ("kind", "reason"), [("memory", "not enough memory"), ("stack", "nested too deeply")]
)
def test_memory_or_stack_that_is_used_up_is_one_line(kind: str, reason: str) -> None:
    done = run("exhausted", kind)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert reason in done.stderr


@pytest.mark.parametrize("number", ["EACCES", "EIO", "ELOOP", "ENOTCONN", "ESTALE"])
def test_a_path_that_the_system_does_not_give_is_one_line(number: str) -> None:
    done = run("unseen", number)
    assert (done.returncode, done.stderr) == (1, "error: mnt/photos cannot be opened: it is gone\n")


def test_a_bug_keeps_its_plain_traceback() -> None:
    done = run("bug")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert 'raise ZeroDivisionError("a bug of ours")' in done.stderr
    assert done.stderr.endswith("ZeroDivisionError: a bug of ours\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--nonsense"], "No such option: --nonsense"),
        (["frist"], "Did you mean 'first'?"),
        (["first", "--count", "many"], "Invalid value for '--count'"),
    ],
)
def test_a_usage_error_is_exit_status_two(arguments: list[str], reason: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert reason in done.stderr


def test_the_version_is_printed() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")


@pytest.mark.parametrize("arguments", [["-h"], ["--help"]])
def test_the_help_names_the_commands_and_the_completion(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 0
    for word in ("Commands for the tests.", "first", "--version", "--install-completion"):
        assert word in done.stdout


def test_no_arguments_print_the_help_where_there_is_no_default_command() -> None:
    done = run()
    assert done.returncode == 2
    assert "Commands for the tests." in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ([], "first 1\n"),
        (["--count", "3"], "first 3\n"),
        (["--count=3"], "first 3\n"),
        (["first", "--count", "4"], "first 4\n"),
        (["--version"], f"{__version__}\n"),
    ],
)
def test_options_without_a_command_are_those_of_the_default_command(
    arguments: list[str], printed: str
) -> None:
    done = run(*arguments, default=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")


def test_the_help_and_a_wrong_command_stay_what_they_are_beside_a_default_command() -> None:
    assert "mistake" in run("--help", default=True).stdout
    assert "Did you mean 'first'?" in run("frist", default=True).stderr


@pytest.mark.parametrize("default", [True, False])
def test_the_shell_completes_the_commands(default: bool) -> None:
    asking = {"_COMMANDS.PY_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "commands.py "}
    environment = os.environ | asking
    done = subprocess.run(
        program(default=default), capture_output=True, text=True, check=False, env=environment
    )
    assert '"mistake":"Fails as a user' in done.stdout
    assert "Usage" not in done.stdout


def test_an_interruption_is_quiet_and_exit_status_130() -> None:
    with subprocess.Popen(
        program("wait"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "ready\n"
        waiting.send_signal(signal.SIGINT)
        _, errors = waiting.communicate()
    assert (waiting.returncode, errors.strip()) == (130, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [("--help",), ("long",), ("first", "--json")])
def test_output_onto_a_full_disk_is_one_line(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            program(*arguments), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("arguments", [("long",), ("first",), ("first", "--json")])
def test_a_reader_that_closes_the_pipe_early_hears_nothing(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        program(*arguments), stdout=writing, stderr=subprocess.PIPE, check=False, env=buffered
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("arguments", [("first",), ("first", "--json"), ("mistake",)])
@pytest.mark.parametrize("closed", ["0", "1", "2", "12", "012"])
def test_a_stream_that_is_closed_takes_what_is_printed(
    closed: str, arguments: tuple[str, ...]
) -> None:
    done = subprocess.run(
        ["sh", "-c", closing(closed, *arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == run(*arguments).returncode
    assert done.stderr == ("" if "2" in closed else run(*arguments).stderr)


def closing(numbers: str, *arguments: str) -> str:
    """A shell's line that runs the program without these descriptors."""
    return f"exec {shlex.join(program(*arguments))} {' '.join(f'{each}>&-' for each in numbers)}"


@pytest.mark.parametrize("closed", ["0", "1", "2", "01", "02", "12", "012"])
def test_a_file_never_gets_the_number_of_a_closed_stream(closed: str, tmp_path: Path) -> None:
    out = tmp_path / "results"
    line = closing(closed, "native", str(out))
    subprocess.run(["sh", "-c", line], capture_output=True, check=True)
    assert out.read_text() == "results"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_what_cannot_be_printed_on_standard_error_stops_no_work(tmp_path: Path) -> None:
    out = tmp_path / "results"
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full", "w") as full, os.fdopen(writing, "w") as unread:
        for stream in (full, unread):
            done = subprocess.run(
                program("native", str(out)), stdout=subprocess.DEVNULL, stderr=stream, check=False
            )
            assert (done.returncode, out.read_text()) == (0, "results")
            out.unlink()


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", r"\u00e9 \u65e5 \ud83d\ude00"),
        ("ascii:surrogateescape", r"\u00e9 \u65e5 \ud83d\ude00"),
        ("latin-1", r"é \u65e5 \ud83d\ude00"),
        ("utf-8", "é 日 😀"),
    ],
)
def test_what_an_encoding_lacks_is_written_as_json_writes_it(encoding: str, shown: str) -> None:
    done = subprocess.run(
        program("accents", r"\u00e9 \u65e5 \U0001f600"),
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    output = done.stdout.decode(encoding.partition(":")[0])
    said, table, *document = output.splitlines()
    assert (said, table.strip()) == (shown, shown)
    assert json.loads("".join(document)) == {"é 日 😀": "é 日 😀"}
    assert done.stderr.decode(encoding.partition(":")[0]) == f"warning: {shown}\n"


@pytest.mark.parametrize(
    "module", ["motivnet", "motivnet_export", "motivnet_training", "motivnet_bench"]
)
def test_python_m_runs_the_command_of_a_package(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"Usage: python -m {module} [OPTIONS] COMMAND")
    assert done.stderr == ""


def test_the_result_is_json_alone_on_standard_output() -> None:
    done = run("first", "--json")
    assert json.loads(done.stdout) == {"count": 1}
    assert done.stderr == ""


def test_json_for_people_takes_the_name_of_any_file(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "caf\udce9.png"})
    assert json.loads(capsys.readouterr().out) == {"name": "caf?.png"}


def test_the_help_imports_nothing_heavy() -> None:
    command, *arguments = program("--help")
    done = subprocess.run(
        [command, "-X", "importtime", *arguments], capture_output=True, text=True, check=True
    )
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported
    heavy = {"rich", "numpy", "cv2", "PIL", "torch", "onnx", "onnxruntime", "asyncio"}
    assert not imported & (heavy | {"multiprocessing"})


def test_a_warning_is_one_printable_line(capsys: pytest.CaptureFixture[str]) -> None:
    warn("a\nb \x1b[31m c")
    assert capsys.readouterr().err == "warning: a b \\x1b[31m c\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("level", ["default", "always"])
def test_pillows_warnings_do_not_reach_the_user(tmp_path: Path, level: str) -> None:
    path = tmp_path / "scan.tif"
    Image.new("L", (6, 4), 7).save(path, tiffinfo={305: "some software"})
    data = path.read_bytes()
    entry = data.index(b"\x31\x01\x02\x00")  # the tag 305, a text
    path.write_bytes(data[: entry + 8] + b"\xff\xff\xff\x7f" + data[entry + 12 :])
    done = subprocess.run(
        [sys.executable, "-W", level, str(COMMANDS), "plain", "scan", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")


def test_progress_is_silent_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress("hashing", total=2) as advance:
        advance(1)
    assert sys.stderr.getvalue() == ""


def test_a_stage_that_lasts_long_is_announced_where_there_is_no_terminal() -> None:
    done = run("stage")
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "reading a\\x1b ...",
        "reading a\\x1b: 0 s",
        "writing ...",
        "error: stopped by Ctrl-C; nothing was written",
    ]
    assert done.returncode == 130


def test_a_short_stage_is_not_announced(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "motivnet.terminal")
    with progress("hashing"):
        pass
    assert caplog.messages == []


@pytest.mark.parametrize("total", [2.0, None])
def test_progress_is_shown_at_a_terminal(
    total: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress("hashing", total=total) as advance:
        advance(2)
    shown = sys.stderr.getvalue()
    assert "hashing" in shown
    assert ("100%" in shown) == (total is not None)


def app_that_needs(module: str) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def command() -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    return app


def test_a_package_of_an_extra_that_is_missing_is_named_with_the_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["motivnet-export"])
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit) as stopped:
        run_app(app_that_needs("torch.nn"))
    assert stopped.value.code == 1
    assert (
        capsys.readouterr().err
        == "error: torch is not installed; install it with: pip install 'motivnet[export]'\n"
    )


def test_a_missing_module_of_our_own_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["motivnet-export"])
    with pytest.raises(ModuleNotFoundError):
        run_app(app_that_needs("motivnet.misspelt"))
