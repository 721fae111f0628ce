"""Pictures from the addresses that a user names: bounded in size, time and redirects.

Only these addresses are opened, over HTTP and HTTPS with verified certificates. The name and the
password in an address go to its own host alone, and into no result or message.
"""

from __future__ import annotations

import base64
import http.client
import re
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from motivnet import __version__
from motivnet.errors import ConfigError, FileError
from motivnet.images import MAX_BYTES

SCHEMES = ("http", "https")
SILENT_SECONDS = 10.0
"""How long a server may be silent."""

TOTAL_SECONDS = 120.0
"""How long a download may take."""

T = TypeVar("T")

_MAX_REDIRECTS = 5
_HEAD_BYTES = 64
_SECRET = re.compile(r"(?i)auth|cred|key|pass|secret|sig|token")
_PAGE = re.compile(rb"(?i)\s*<(!doctype html|html|head|body)")
_PICTURE = re.compile(
    rb"(?s)\xff\xd8\xff|\x89PNG\r\n|RIFF....WEBP|BM|GIF8|II\*\0|MM\0\*"
    rb"|....ftyp(avif|avis|heic|heix|hevc|mif1|msf1)"
)
"""How the formats begin in which pictures are sent, whether they can be decoded or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The address of a picture, split by ``address_from_text``.

    Args:
        url: What is requested, without user and fragment.
        user: User and password, ``user:password``, or None.
        name: What results and messages call it; the values of secrets in its query are hidden.
    """

    url: str
    user: str | None
    name: str

    @property
    def file_name(self) -> str:
        """The last part of the path, with only letters, digits and ``._-``; never empty."""
        last = unquote(urlsplit(self.url).path.rstrip("/").rpartition("/")[2])
        return re.sub(r"[^\w.-]", "_", last).lstrip(".")[-80:] or "picture"


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """What a server sent; of anything but a picture, only the beginning."""

    data: bytes
    content_type: str

    @property
    def is_picture(self) -> bool:
        """Whether it is a picture by its first bytes, or by what the server says."""
        said = self.content_type.startswith("image/") and not _PAGE.match(self.data)
        return said or bool(_PICTURE.match(self.data))

    @property
    def is_page(self) -> bool:
        """Whether it is HTML, as pages about a picture and logins are."""
        return self.content_type == "text/html" or bool(_PAGE.match(self.data))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FetchedImage:
    """An image that is no file of the user's: at an address, or from standard input.

    Args:
        name: What results and errors call it.
        file: Where it is kept from when it was fetched until its result was used.
        fetch: Returns its bytes; called once, in another thread.
    """

    name: str
    file: Path
    fetch: Callable[[], bytes]


def address_from_text(text: str) -> Address:
    """Return the address of a picture; characters that need it are escaped.

    Raises:
        ConfigError: If it is not one over HTTP or HTTPS, or names no host.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in SCHEMES:
        raise ConfigError("an address has a host and a valid port: http://HOST:PORT/PATH")
    host = f"[{host}]" if ":" in host else host
    try:
        host.encode("ascii")
    except UnicodeEncodeError:
        try:
            host = host.encode("idna").decode()
        except UnicodeError as error:
            raise ConfigError(f"{host!r} is not the name of a host") from error
    place = host if port is None else f"{host}:{port}"
    path = quote(parts.path or "/", safe="%/:=&~+!$,;'@()*")
    query = quote(parts.query, safe="%/:=&?~+!$,;'@()*")
    user = None
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Address(
        url=urlunsplit((parts.scheme, place, path, query, "")),
        user=user,
        name=urlunsplit((parts.scheme, place, parts.path, _without_secrets(parts.query), "")),
    )


def download(address: Address, *, max_bytes: int = MAX_BYTES) -> Download:
    """Return what is at an address.

    Raises:
        FileError: If it cannot be read, or has more than ``max_bytes``.
    """
    request = urllib.request.Request(  # noqa: S310 - an Address is of HTTP or HTTPS
        address.url, headers={"User-Agent": f"motivnet/{__version__}"}
    )
    if address.user is not None:  # not sent to where the server redirects
        token = base64.b64encode(address.user.encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    try:
        with _opener().open(request, timeout=SILENT_SECONDS) as response:
            return _read(address, response, max_bytes)
    except urllib.error.HTTPError as error:
        error.close()
        answer = f"the server answers {error.code} {error.reason}"
        if 300 <= error.code < 400:
            answer = "the server redirects too often, or not to another address over HTTP"
        raise FileError(f"{address.name} cannot be read: {answer}") from None  # it has the address
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FileError(f"{address.name} cannot be read: {_reason(error)}") from None


def picture_at(address: Address) -> bytes:
    """Return the bytes of the picture at an address; whether it can be decoded is seen later.

    Raises:
        FileError: As ``download``, or if it is a web page.
    """
    return picture_of(address, download(address))


def picture_of(address: Address, found: Download) -> bytes:
    """Return the bytes that a server sent.

    Raises:
        FileError: If they are a web page.
    """
    if found.is_page and not found.is_picture:
        raise FileError(
            f"{address.name} is a web page, not a picture; give the address of the picture itself"
        )
    return found.data


def in_background(call: Callable[[], T]) -> Future[T]:
    """Make a call in a thread for which the end of the process does not wait."""
    future = Future[T]()

    def work() -> None:
        try:
            future.set_result(call())
        except Exception as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)

    threading.Thread(target=work, name="motivnet-download", daemon=True).start()
    return future


def result_of(future: Future[T], *, name: str) -> T:
    """Return the result of a call that ``in_background`` makes, once it is there.

    Raises:
        FileError: If it takes longer than ``TOTAL_SECONDS``, or as the call.
    """
    try:
        return future.result(timeout=TOTAL_SECONDS)
    except FutureTimeoutError as error:
        raise FileError(
            f"{name} cannot be read: it takes more than {TOTAL_SECONDS:.0f} seconds"
        ) from error


def _read(address: Address, response: Any, max_bytes: int) -> Download:
    if response.status != http.client.OK:
        raise FileError(
            f"{address.name} cannot be read: the server answers {response.status} {response.reason}"
        )
    kind = response.headers.get_content_type()
    head = response.read(_HEAD_BYTES)
    start = Download(data=head, content_type=kind)
    if not start.is_picture:
        return start
    size = response.headers.get("Content-Length", "")
    data = head + response.read(max_bytes + 1 - len(head))
    if len(data) > max_bytes:
        raise FileError(f"{address.name} has more than the {max_bytes:,} bytes allowed")
    if size.isdecimal() and len(data) < int(size):
        raise FileError(
            f"{address.name} cannot be read: the connection ended after {len(data):,} of "
            f"{int(size):,} bytes"
        )
    return Download(data=data, content_type=kind)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects, and none that leaves HTTP, or HTTPS once it was asked for."""

    max_redirections = _MAX_REDIRECTS
    max_repeats = _MAX_REDIRECTS

    def redirect_request(  # noqa: PLR0917 - as in the base class
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme not in SCHEMES or (req.type == "https" and scheme != "https"):
            raise urllib.error.URLError(f"the server redirects to {scheme}://")
        if urlsplit(newurl).username is not None:
            raise urllib.error.URLError("the server redirects to an address with a user")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Return what opens HTTP and HTTPS; ``build_opener`` would add files, FTP and data."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "the server does not answer in time"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {cause.verify_message}"
    if isinstance(cause, http.client.RemoteDisconnected):
        return "the server closes the connection without an answer"
    if isinstance(cause, http.client.IncompleteRead):
        return f"the connection ended after {len(cause.partial):,} bytes"
    if isinstance(cause, http.client.HTTPException):
        return "the server does not answer as HTTP asks for"
    return (isinstance(cause, OSError) and cause.strerror) or str(cause)


def _without_secrets(query: str) -> str:
    """Return a query in which the values of what is named as a secret are hidden."""
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(_SECRET.search(name) for name, _ in pairs):
        return query
    return urlencode([(name, "..." if _SECRET.search(name) else value) for name, value in pairs])
