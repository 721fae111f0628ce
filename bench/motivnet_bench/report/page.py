"""The page of every HTML report, and the parts that reports are made of; every text given is
escaped.

A page needs nothing beside it, and forbids itself scripts and requests.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from importlib.resources import files
from string import Template

from motivnet.printable import printable

Pairs = tuple[tuple[str, str], ...]

_PAGE = "page_template.html"


def escape(text: str) -> str:
    """A foreign text as HTML: printable, short, and nothing of it markup."""
    return html.escape(printable(text))


def page(title: str, template: str, **parts: str) -> str:
    """A page whose body is a template of this package.

    Args:
        template: The name of its file.
        parts: HTML for each of its fields.
    """
    return _template(_PAGE).substitute(
        title=escape(title), body=_template(template).substitute(parts)
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def tile(heading: str, text: str) -> str:
    """A figure, large; what follows in brackets is small."""
    value, _, spread = text.partition(" (")
    small = f"<small>{escape(spread.removesuffix(')'))}</small>" if spread else ""
    return f'<div class="tile"><span>{escape(heading)}</span><b>{escape(value)}</b>{small}</div>'


def definitions(pairs: Pairs) -> str:
    """Names and values for a ``dl``."""
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)


def notes(texts: Iterable[str], kind: str) -> str:
    """A paragraph each; the kind is ``warning`` or ``error``."""
    return "".join(f'<p class="note {kind}">{escape(text)}</p>' for text in texts)


def data_uri(svg: bytes) -> str:
    """An image as the address that holds it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _template(name: str) -> Template:
    return Template(files("motivnet_bench").joinpath(name).read_text(encoding="utf-8"))
