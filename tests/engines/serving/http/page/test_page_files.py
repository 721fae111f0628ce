"""The page's files, as they are in the package."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import httpx
import pytest

FOLDER = files("motivnet_engines.serving.http") / "page"
FILES = {file.name: file.read_text("utf-8") for file in FOLDER.iterdir() if file.is_file()}
MODULES = {name for name in FILES if name.endswith(".js")}
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def imported_by(name: str) -> set[str]:
    """Return the modules that a module imports; its comments may name others for types."""
    return set(re.findall(r'^(?:import|\} from) .*?"\./([\w.]+)"', FILES[name], re.MULTILINE))


def test_every_file_is_used_and_there() -> None:
    used = set(re.findall(r'(?:href|src)="page/([\w.]+)"', FILES["index.html"])) | {"index.html"}
    waiting = used & MODULES
    while waiting:
        waiting = set().union(*(imported_by(name) for name in waiting)) - used
        used |= waiting
    assert used == set(FILES)


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_file_names_another_address(name: str) -> None:
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", FILES[name]))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, which nobody looks up


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_make_no_markup_from_text(name: str) -> None:
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", FILES[name]
    )


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_is_served_as_what_it_is(service: Any, name: str) -> None:
    answer = httpx.get(f"{service.url}page/{name}")
    assert answer.status_code == 200
    assert answer.text == FILES[name]
    assert answer.headers["Content-Type"].split(";")[0] == TYPES["." + name.rsplit(".", 1)[1]]


def test_the_page_may_load_nothing_from_elsewhere(service: Any) -> None:
    policy = httpx.get(service.url).headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
