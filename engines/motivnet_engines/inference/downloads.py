"""Pictures from the addresses that a user names: bounded in size, time and redirects.

Only these addresses are opened, and where they redirect to, over HTTP and HTTPS with verified
certificates.
"""

from __future__ import annotations

import base64
import http.client
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
from urllib.parse import urlsplit

from motivnet import __version__
from motivnet.errors import FileError
from motivnet.image_formats import HEAD_BYTES, format_name, image_format, video_name
from motivnet.images import USER_LIMITS
from motivnet_engines.inference.web_address import SCHEMES, Address

SILENT_SECONDS = 10.0
"""How long a server may be silent."""

TOTAL_SECONDS = 120.0
"""How long a download may take."""

T = TypeVar("T")

_MAX_REDIRECTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """What a server sent; of anything but a picture, only the beginning."""

    data: bytes
    content_type: str

    @property
    def is_picture(self) -> bool:
        """Whether it is a picture by its first bytes, or by what the server says."""
        said = self.content_type.startswith("image/") and not self.is_page
        return said or image_format(self.data) is not None

    @property
    def is_page(self) -> bool:
        """Whether it is HTML, as pages about a picture and logins are."""
        return self.content_type == "text/html" or format_name(self.data) == "a web page"

    @property
    def is_stream(self) -> bool:
        """Whether it is a video, or may be one: what is known by its first bytes is not."""
        name = format_name(self.data)
        is_known = name not in (None, "a playlist") and video_name(self.data) is None
        return not self.is_picture and not self.is_page and not is_known


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


def download(address: Address, *, max_bytes: int = USER_LIMITS.max_bytes) -> Download:
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


def picture_at(address: Address, *, max_bytes: int = USER_LIMITS.max_bytes) -> bytes:
    """Return the bytes of the picture at an address; whether it can be decoded is seen later.

    Raises:
        FileError: As ``download``, or if it is a web page.
    """
    return picture_of(address, download(address, max_bytes=max_bytes))


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
    head = response.read(HEAD_BYTES)
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
        scheme, refused = urlsplit(newurl).scheme, None
        if scheme not in SCHEMES or (req.type == "https" and scheme != "https"):
            refused = f"{scheme}://"
        elif urlsplit(newurl).username is not None:
            refused = "an address with a user"
        if refused is not None:
            fp.close()
            raise urllib.error.URLError(f"the server redirects to {refused}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Return what opens HTTP and HTTPS; ``build_opener`` would add files, FTP and data."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
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
