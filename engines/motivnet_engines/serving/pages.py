"""The page's files, read once when the application is made."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePath

from starlette.responses import Response

from motivnet_engines.serving.refusals import RefusedError

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_INDEX = "index.html"
# Always asked for again: the page belongs to the service that is running.
_HEADERS = {"Cache-Control": "no-cache"}


class Pages:
    """Answers with the files of the package's folder ``page``; there is no way from a path to a disk."""

    def __init__(self) -> None:
        folder = files("motivnet_engines.serving") / "page"
        self._responses = {
            file.name: _content(file) for file in folder.iterdir() if _suffix(file) in _TYPES
        }

    def response(self, name: str = _INDEX) -> Response:
        """The answer with a file.

        Raises:
            RefusedError: If there is none of this name.
        """
        if name not in self._responses:
            raise RefusedError("not_found", "there is no such page")
        content, media_type = self._responses[name]
        return Response(content, media_type=media_type, headers=_HEADERS)


def _content(file: Traversable) -> tuple[bytes, str]:
    return file.read_bytes(), _TYPES[_suffix(file)]


def _suffix(file: Traversable) -> str:
    return PurePath(file.name).suffix
