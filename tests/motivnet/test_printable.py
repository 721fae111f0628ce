"""Foreign text is printable, on one line and short, and standard output passes nothing else."""

from __future__ import annotations

import ast
import io
import json
import logging
import sys
import tracemalloc
from pathlib import Path

import pytest

from motivnet import schema
from motivnet.errors import EngineError, FileError, MotivNetError
from motivnet.printable import (
    LIMIT,
    OneLineFormatter,
    PrintableStream,
    drawn_text,
    escaped_json,
    guard_output,
    one_line,
    printable,
    printable_lines,
    unguarded,
)

ROOT = Path(__file__).parents[2]

ESCAPED = [
    ("\x1b[31mred", "\\x1b[31mred"),
    ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
    ("\x1b]8;;https://example.org\x1b\\here", "\\x1b]8;;https://example.org\\x1b\\here"),
    ("\x9b2J", "\\x9b2J"),
    ("a\r\nb\tc", "a\\r\\nb\\tc"),
    ("\x00\x7f", "\\x00\\x7f"),
    ("gpj.\u202efdp", "gpj.\\u202efdp"),
    ("\u2066\u2069\u200e\u200f\u061c", "\\u2066\\u2069\\u200e\\u200f\\u061c"),
    ("\u200b\u200d\u2060\ufeff\u00ad", "\\u200b\\u200d\\u2060\\ufeff\\xad"),
    ("\udcff", "\\udcff"),
    ("\u2028\u2029\x85", "\\u2028\\u2029\\x85"),
    ("\U000e0041", "\\U000e0041"),
]


@pytest.mark.parametrize(("text", "shown"), ESCAPED, ids=ascii)
def test_what_a_terminal_obeys_or_hides_is_a_visible_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    "text", ["", "C:\\faces [1].png", "日本語 アンナ.jpg", "9.41.00\u202fAM", "naïve 😀"]
)
def test_an_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_shown_text_is_shown_again_as_it_is() -> None:
    once = printable("\x1b[31m" * 1000)
    assert printable(once) == once
    assert one_line(once) == once


@pytest.mark.parametrize("show", [printable, one_line, lambda text: str(MotivNetError(text))])
def test_of_a_long_text_both_ends_are_shown(show) -> None:
    shown = show("begin " + "\x1b" * 10_000 + " end")
    assert len(shown) == LIMIT
    assert shown.startswith("begin")
    assert shown.endswith("end")
    assert "…" in shown


def test_showing_a_text_of_megabytes_takes_little_memory() -> None:
    text = "\x1b \n" * 10_000_000
    tracemalloc.start()
    one_line(text)
    printable(text)
    printable_lines(text, limit=LIMIT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_the_spaces_of_a_name_stay() -> None:
    assert one_line("two  spaces/a.jpg\n   does not\texist") == "two  spaces/a.jpg does not exist"


def test_one_line_joins_lines_and_indents() -> None:
    assert one_line("a.png\ndoes not\t exist;\r\n  choose") == "a.png does not exist; choose"


@pytest.mark.parametrize("kind", [MotivNetError, FileError, EngineError])
def test_every_error_is_one_short_printable_line_from_the_start(kind: type[MotivNetError]) -> None:
    error = kind("a\nb \x1b[31m" + "x" * 10_000)
    assert str(error).startswith("a b \\x1b[31mxxx")
    assert len(error.args[0]) == LIMIT


@pytest.mark.parametrize(("text", "_"), ESCAPED, ids=ascii)
def test_json_spells_it_with_its_own_escapes_and_means_the_same(text: str, _: str) -> None:
    written = escaped_json(json.dumps({text: text}, ensure_ascii=False))
    assert written.isprintable()
    assert json.loads(written) == {text: text}


def test_json_that_is_written_is_printable_and_comes_back() -> None:
    value = {"label": "a\u202e\x9b\U000e0041é日"}
    written = schema.encode(value)
    assert written.decode().replace("\n", "").isprintable()
    assert "é日".encode() in written
    assert schema.decode(written, dict[str, str]) == value


def test_a_dollar_is_no_mathematics_for_matplotlib() -> None:
    assert drawn_text("$\\frac{1}{0}$\x1b") == "\\$\\frac{1}{0}\\$\\x1b"


def test_a_guarded_stream_shows_what_others_print_and_keeps_its_lines() -> None:
    stream = io.StringIO()
    guarded = PrintableStream(stream)
    print("\x1b]0;title\x07", "b", sep="\n\t", file=guarded)
    guarded.writelines(["\u202e", "\n"])
    assert stream.getvalue() == "\\x1b]0;title\\x07\n\tb\n\\u202e\n"
    assert not guarded.isatty()
    assert unguarded(guarded) is stream
    assert unguarded(stream) is stream


def test_output_is_guarded_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    before = sys.stdout
    guard_output()
    guard_output()
    assert unguarded(sys.stdout) is before
    print("\x1b[2J")
    sys.stderr.write("\x9b")
    assert capsys.readouterr() == ("\\x1b[2J\n", "\\x9b")


def test_a_record_of_any_logger_is_one_line() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLineFormatter())
    record = logging.LogRecord(
        "library", logging.WARNING, "file", 1, "read %s", ("a\nERROR: b\x1b",), None
    )
    handler.handle(record)
    assert stream.getvalue() == "warning: read a ERROR: b\\x1b\n"


PRINTERS = {
    "motivnet/command_line.py",  # say and print_json
    "motivnet/printable.py",
    "motivnet/terminal.py",
}
PRINTS = {"print", "Console", "Progress", "echo", "secho"}
MACHINE_READ = {
    "engines/motivnet_engines/diagnostics/first_prediction.py",  # for its parent process
    "engines/motivnet_engines/writers/text.py",  # JSON Lines and CSV, escaped record by record
}


@pytest.mark.parametrize("package", ["motivnet", "engines", "export", "training", "bench"])
def test_one_place_prints(package: str) -> None:
    """Whoever prints or draws with rich elsewhere has to think of foreign text alone."""
    for file in sorted((ROOT / package).rglob("*.py")):
        name = file.relative_to(ROOT).as_posix()
        if name in PRINTERS | MACHINE_READ:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            assert not _is_print(node), (
                f"{name}:{getattr(node, 'lineno', 0)} prints; use motivnet.command_line.say"
            )
            assert not _imports_rich(node), (
                f"{name}:{getattr(node, 'lineno', 0)} draws; use motivnet.terminal"
            )


def _is_print(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    if isinstance(called, ast.Name):
        return called.id in PRINTS
    writes = (
        isinstance(called, ast.Attribute)
        and called.attr == "write"
        and isinstance(called.value, ast.Attribute)
    )
    return writes and called.value.attr in ("stdout", "stderr")


def _imports_rich(node: ast.AST) -> bool:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return any(name.split(".")[0] == "rich" for name in names)
