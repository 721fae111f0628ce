"""What tables, facts and sentences show: texts and never markup, on a pipe and at a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from motivnet.terminal import TextTable, details, marked, show, stacked, table, text

HOSTILE = "\x1b]52;c;aGk=\x07[/x] [red]r[/red] :smile: \u202eab\nc"
SHOWN = "\\x1b]52;c;aGk=\\x07[/x] [red]r[/red] :smile: \\u202eab\\nc"
STYLES = re.compile(r"\x1b\[[0-9;]*m")


def hostile_parts() -> list[object]:
    rows = table(HOSTILE, f">{HOSTILE}")
    rows.add_row(HOSTILE, HOSTILE, bold=True)
    ruled = TextTable(titles=("a",), title=HOSTILE, ruled=True)
    ruled.add_row(HOSTILE)
    return [
        rows,
        ruled,
        details({HOSTILE: HOSTILE}),
        text(HOSTILE, "yellow"),
        marked("built", HOSTILE),
        HOSTILE,
    ]


def test_foreign_texts_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show(*hostile_parts(), stacked(text(HOSTILE), text(HOSTILE)))
    shown = capsys.readouterr().out
    assert shown.count(SHOWN) == 13
    assert shown.replace("\n", "").isprintable()


def test_a_terminal_gets_styles_and_nothing_else() -> None:
    program = (
        "from tests_of_terminal import hostile_parts; "
        "from motivnet.terminal import show; show(*hostile_parts())"
    )
    leader, follower = pty.openpty()
    environment = {
        **os.environ,
        "PYTHONPATH": os.path.dirname(__file__),
        "COLUMNS": "200",
        "TERM": "xterm-256color",
    }
    program = program.replace("tests_of_terminal", "test_terminal")
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=follower, env=environment, check=True
    )
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 65_536):
            shown += chunk
    except OSError:  # the terminal's other end is closed
        pass
    os.close(leader)
    plain = shown.decode().replace("\r\n", "")
    assert done.returncode == 0
    assert STYLES.search(plain), "a terminal gets styles"
    assert STYLES.sub("", plain).isprintable()


def test_a_table_has_a_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    rows = table("class", ">images")
    rows.add_row("anger", "12")
    rows.add_row("fear", "3")
    show(rows, details({"images": "15"}))
    assert capsys.readouterr().out.split() == [
        "class",
        "images",
        "anger",
        "12",
        "fear",
        "3",
        "images",
        "15",
    ]
