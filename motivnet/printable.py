"""Text of unknown origin for a terminal, a log or a report: printable, on one line, and short.

It may hold what a terminal obeys (escape sequences, carriage returns), what reorders or hides the
text around it (bidirectional marks, zero-width characters), or megabytes.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import logging
import os
import re
import sys
import unicodedata
from collections.abc import Callable
from typing import Any, TextIO, cast

LIMIT = 1_000
"""Characters of a text that is shown; of a longer one, both ends."""

_EXTRA = 4
"""A text, which may have megabytes, is first cut to so many times the limit."""

_ESCAPE = "motivnet.escape"
_LINE_ENDS = re.compile(r" *[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]\s*")
"""With the spaces around them; other runs of spaces may be part of a file name."""


def shortened(text: str, limit: int = LIMIT) -> str:
    """Return a text, or both ends of a longer one.

    The end of a message says what to do, and the end of a path is its name.
    """
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"


def printable(text: str, *, limit: int = LIMIT) -> str:
    r"""Return a text with escapes for what is not printable, shortened to ``limit`` characters.

    Spaces of every width stay as they are; ``\n``, ESC, C1 controls, bidirectional and zero-width
    marks and lone surrogates are written as Python writes them in a literal.
    """
    shown = shortened(text, _EXTRA * limit)
    return shortened(shown if shown.isprintable() else "".join(map(_visible, shown)), limit)


def one_line(said: object, *, limit: int = LIMIT) -> str:
    """Return ``printable`` text with line ends and indents as single spaces."""
    return printable(_LINE_ENDS.sub(" ", shortened(str(said), _EXTRA * limit)).strip(), limit=limit)


def counted(number: int, noun: str) -> str:
    """Return a number with a regular noun, in the singular for one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable_lines(text: str, *, limit: int) -> str:
    """Return several lines, such as a traceback, printable and within ``limit`` characters."""
    return shortened(_lines(shortened(text, limit), _visible), limit)


def escaped_json(text: str) -> str:
    """Return the same JSON with JSON's escapes for what is not printable."""
    return _lines(text, _json_escape)


def drawn_text(text: str) -> str:
    """Return a printable text for matplotlib, which reads text between dollar signs as TeX."""
    return printable(text, limit=100).replace("$", r"\$")


class PrintableStream:
    """A text stream that escapes what a terminal would obey, should somebody have forgotten it.

    Line ends and tabs pass. ``unguarded`` is the stream itself, for code that styles its output and
    has made every text printable.

    Args:
        optional: Whether the work goes on if the stream cannot be written: its disk is full, or its
            reader has gone. What is printed from then on is dropped.
    """

    def __init__(self, stream: TextIO, *, optional: bool = False) -> None:
        self.unguarded = stream
        self._optional = optional

    def write(self, text: str) -> int:
        """Write a text with escapes."""
        try:
            self.unguarded.write(_lines(text, _visible))
        except OSError:
            if not self._optional:
                raise
            replace_by_null_device(self.unguarded.fileno())
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)


class OneLineFormatter(logging.Formatter):
    """Formats each record as one printable line; the traceback of a bug follows below it.

    The level stands in front of it as ``error:`` does in front of a command's error, except for
    what is only information.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line."""
        shown = one_line(record.message)
        return shown if record.levelno == logging.INFO else f"{record.levelname.lower()}: {shown}"


def guard_output() -> None:
    r"""Send standard output and standard error through ``PrintableStream``, once.

    Standard error is optional: no warning is worth the results. What the encoding of a terminal
    lacks is written as JSON writes it (``\u00e9``), which people can read as well.

    A stream that was closed when the process began (``>&-``) is the null device from then on, by
    its number too: else a file that is opened later would get the number, and what native libraries
    print would be written into it.
    """
    codecs.register_error(_ESCAPE, _escape_for_encoding)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            replace_by_null_device(number)
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115 - for the whole process
            setattr(sys, name, stream)
        if number and not isinstance(stream, PrintableStream):
            with contextlib.suppress(AttributeError):  # not a text file, but somebody's own stream
                stream.reconfigure(errors=_ESCAPE)
            setattr(sys, name, PrintableStream(stream, optional=name == "stderr"))


def unguarded(stream: TextIO) -> TextIO:
    """Return the stream behind a ``PrintableStream``, or another stream itself."""
    return cast(TextIO, getattr(stream, "unguarded", stream))


def replace_by_null_device(number: int) -> None:
    """Make a descriptor that of the null device, also for child processes."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, number)
    if null != number:
        os.close(null)


def _escape_for_encoding(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(json.dumps(character)[1:-1] for character in text), error.end


def _lines(text: str, escape: Callable[[str], str]) -> str:
    if text.replace("\n", "").isprintable():
        return text
    return "".join(character if character in "\n\t" else escape(character) for character in text)


def _visible(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()


def _json_escape(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]
