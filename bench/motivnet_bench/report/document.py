"""A report as a value: what a result says, before it becomes HTML, Markdown or terminal output.

Every text in it may come from outside, from a file name or an error of a library. The renderers
escape all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from motivnet_bench.environment import Environment

DASH = "\N{EN DASH}"

NARROW, DARK = "(max-width: 600px)", "(prefers-color-scheme: dark)"
"""Media queries of a plot's versions."""

Details: TypeAlias = tuple[tuple[str, str], ...]
"""Names and values."""

NoteKind: TypeAlias = Literal["plain", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Cells of text; ``marks`` are shown beside the first one, and ``kind`` as a colour."""

    cells: tuple[str, ...]
    marks: tuple[str, ...] = ()
    kind: Literal["plain", "default", "failed"] = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under headings; all columns but the first are aligned to the right.

    ``meanings`` explain the headings where there is room for it. A ``tall`` table scrolls on a
    page; a ``compact`` one has no lines at a terminal, and its cells are not wrapped.
    """

    title: str = ""
    headings: tuple[str, ...]
    meanings: tuple[str, ...] = ()
    rows: tuple[Row, ...]
    tall: bool = False
    compact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class List:
    """Names and values, one per line."""

    title: str = ""
    details: Details


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """An SVG image, which ``draw`` returns; ``description`` is for who cannot see it.

    ``versions`` are drawn otherwise for a page of which a CSS media query is true, the first that
    is.
    """

    draw: Callable[[], bytes]
    description: str
    versions: tuple[tuple[str, Callable[[], bytes]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A paragraph: what a reader should know, or what went wrong."""

    text: str
    kind: NoteKind = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """A command to copy."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Two blocks beside each other where there is room."""

    left: Table | List
    right: Plot


TextBlock: TypeAlias = Table | List | Note
Block: TypeAlias = TextBlock | Plot | CommandLine | Beside


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Blocks under a title; two ``narrow`` sections in a row fit beside each other."""

    title: str
    blocks: tuple[Block, ...]
    state: Literal["passed", "failed"] | None = None
    narrow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a report says.

    ``summary`` is what the run comes down to in sentences, ``tiles`` are its most important
    numbers, and ``overview`` is what a terminal has room for.
    """

    title: str
    summary: tuple[str, ...] = ()
    tiles: Details = ()
    sections: tuple[Section, ...] = ()
    overview: tuple[TextBlock, ...]


def rows_from_texts(texts: Iterable[Sequence[str]]) -> tuple[Row, ...]:
    """Return plain rows of these cells."""
    return tuple(Row(cells=tuple(cells)) for cells in texts)


def notes_from_texts(texts: Iterable[str], kind: NoteKind) -> tuple[Note, ...]:
    """Return a note per text."""
    return tuple(Note(text=text, kind=kind) for text in texts)


def environment_section(environment: Environment, *, pytorch_device: str, created: str) -> Section:
    """Return a machine, its software and the date of a run."""
    versions = (f"{name} {number}" for name, number in environment.versions.items())
    details: Details = (
        ("Processor", environment.processor),
        ("Cores", f"{environment.physical_cores} physical, available to the run"),
        ("Instructions", ", ".join(environment.instructions) or "none of note"),
        ("PyTorch ran on", pytorch_device),
        *((f"GPU {index}", gpu) for index, gpu in enumerate(environment.gpus)),
        *((("NVIDIA driver", environment.driver),) if environment.driver else ()),
        ("Memory", byte_count(environment.memory)),
        ("System", environment.system),
        ("Load at start", f"{environment.load_average:g}"),
        ("Governor", environment.governor or "not readable"),
        ("Python", environment.python),
        ("Versions", ", ".join(versions)),
        ("Date", created),
    )
    return Section(title="Environment", blocks=(List(details=details),), narrow=True)


def command_line_section(command_line: str) -> Section:
    """Return the command that repeats a run."""
    return Section(title="Command line", blocks=(CommandLine(text=command_line),))


def byte_count(size: int) -> str:
    """Return bytes as MB or GB."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def duration(seconds: float) -> str:
    """Return seconds with three significant digits, as µs, ms or s."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= 0.9995 * size:
            return f"{significant(seconds / size)} {unit}"
    return f"{significant(seconds / 1e-6)} µs"


def significant(value: float) -> str:
    """Return three significant digits without an exponent; of a value below 1, two decimals."""
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f}"


def rate(value: float) -> str:
    """Return images per second with three significant digits, three decimals below one."""
    return significant(value) if value >= 1 else f"{value:.3f}"
