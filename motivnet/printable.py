"""Foreign text on its way to a terminal, a log or a report: printable, on one line, and short.

A file's name, a label, a string of a manifest or the words of a library may hold what a terminal
obeys (escape sequences, carriage returns), what reorders or hides the text around it (bidirectional
marks, zero-width characters), or megabytes. Every such text is shown by ``printable`` or
``one_line``; standard output and standard error themselves pass through ``PrintableStream`` in
every command, so that nothing is forgotten.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import unicodedata
from collections.abc import Callable
from typing import Any, TextIO, cast

LIMIT = 1_000
"""Characters of a text that is shown; of a longer one both ends."""

_ELLIPSIS = "…"
_LONGEST_DRAWN = 100
_EXTRA = 4
"""Times the limit at which a text is cut before its characters are looked at: it may be hundreds of megabytes."""
_LINE_ENDS = re.compile(r" *[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]\s*")
"""With the spaces around them; other runs of spaces stay, because they may be part of a file's name."""


def shortened(text: str, limit: int = LIMIT) -> str:
    """Both ends of a text that is longer: the end of a message says what to do, and that of a path is its name."""
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}{_ELLIPSIS}{text[len(text) - (limit - 1 - head) :]}"


def printable(text: str, *, limit: int = LIMIT) -> str:
    r"""The text with visible escapes for what is not printable, and its middle left out beyond
    ``limit`` characters.

    Spaces of every width stay as they are; ``\n``, ESC, C1 controls, bidirectional and zero-width
    marks and lone surrogates are written as Python writes them in a literal.
    """
    shown = shortened(text, _EXTRA * limit)
    return shortened(shown if shown.isprintable() else "".join(map(_visible, shown)), limit)


def one_line(said: object, *, limit: int = LIMIT) -> str:
    """What an error or a library says, as ``printable`` shows it, with its line ends and indents as single spaces."""
    return printable(_LINE_ENDS.sub(" ", shortened(str(said), _EXTRA * limit)).strip(), limit=limit)


def printable_lines(text: str, *, limit: int) -> str:
    """Several lines, as a traceback's, printable and within so many characters in all."""
    return shortened(_lines(shortened(text, limit), _visible), limit)


def escaped_json(text: str) -> str:
    """JSON text with JSON's own escapes for what is not printable: another spelling of the same value."""
    return _lines(text, _json_escape)


def drawn_text(text: str) -> str:
    """A printable text for matplotlib, which would set what is between two dollar signs as mathematics, or fail."""
    return printable(text, limit=_LONGEST_DRAWN).replace("$", r"\$")


class PrintableStream:
    """A text stream that makes visible what a terminal would obey; line ends and tabs pass.

    Everything else is the stream's own, ``unguarded`` is the stream itself: for what styles its
    output at a terminal and has made every text printable before.
    """

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    def write(self, text: str) -> int:
        """Writes the text with visible escapes."""
        self.unguarded.write(_lines(text, _visible))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Writes each of the lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)


class OneLineFormatter(logging.Formatter):
    """Records as one printable line each; the traceback of a bug follows on lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line."""
        record.message = one_line(record.message)
        return super().formatMessage(record)


def guard_output() -> None:
    """Sends standard output and standard error of this process through ``PrintableStream``, once.

    A stream that was closed before the process began (``>&-``) takes what is printed and drops it.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for as long as the process
    if not isinstance(sys.stdout, PrintableStream):
        sys.stdout = cast(TextIO, PrintableStream(sys.stdout))
    if not isinstance(sys.stderr, PrintableStream):
        sys.stderr = cast(TextIO, PrintableStream(sys.stderr))


def unguarded(stream: TextIO) -> TextIO:
    """The stream behind a ``PrintableStream``, or the stream itself where it is none."""
    return cast(TextIO, getattr(stream, "unguarded", stream))


def _lines(text: str, escape: Callable[[str], str]) -> str:
    if text.replace("\n", "").isprintable():
        return text
    return "".join(character if character in "\n\t" else escape(character) for character in text)


def _visible(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()


def _json_escape(character: str) -> str:
    if character.isprintable():
        return character
    return "".join(
        f"\\u{unit:04x}"
        for unit in memoryview(character.encode("utf-16-le", "surrogatepass")).cast("H")
    )
