"""The settings and limits of a service."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from motivnet.errors import ConfigError, FileError
from motivnet.files import read_bytes
from motivnet.images import MAX_BYTES, MAX_PIXELS, MAX_SIDE, STRICT_LIMITS, ImageLimits
from motivnet.printable import printable
from motivnet.processors import count_usable_cores

logger = logging.getLogger(__name__)

TOKEN_VARIABLE = "MOTIVNET_TOKEN"  # noqa: S105 - the name of a variable
_LONGEST_TOKEN = 1024
_TOKEN = re.compile(rf"[!-~]{{16,{_LONGEST_TOKEN}}}")
DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_NAME = re.compile(r"[a-z0-9._-]{1,253}")
_ROOT_PATH = re.compile(r"(?:/[A-Za-z0-9_~.-]{1,64}){1,8}")
_OWN_PATHS = frozenset(("healthz", "metrics", "openapi.json", "page", "readyz", "v1", ".", ".."))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Where a service listens, and what it takes from a client.

    Args:
        host: An address or a name of this machine; an IPv6 address may be in brackets.
        root_path: The path of a proxy under which the service is, as ``/faces``.
        allowed_origins: Origins, as ``https://faces.example``, whose pages may use the service too.
        token: What every client must present; without one, only a loopback address is allowed.
        max_batch: Faces per call of the runtime; the classifier's batch size if None.
        max_delay_ms: How long the first face of a batch may wait for others.
        queue: Requests that may be waiting or in work at once.
        deadline_ms: How long a request may take from the last byte of its body to its answer.
        grace_s: How long accepted requests may take once the service is asked to end.
        max_images: Images per request.
        max_pixels: Pixels per image.
        max_side: Pixels per side of an image.
        max_faces: Faces per image that are classified, the largest first.
        keep_alive_s: How long a connection may be idle after an answer.
        body_timeout_s: From the head of a request to the end of its body.
        write_timeout_s: How long a client may leave its answer unread; on Linux.

    Raises:
        ConfigError: If a limit is not within its range, or an address beyond loopback has no token.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    root_path: str = ""
    allowed_origins: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)
    max_batch: int | None = None
    max_delay_ms: float = 2.0
    queue: int = 64
    deadline_ms: float = 10_000
    grace_s: float = 10.0
    max_body_bytes: int = MAX_BYTES
    max_images: int = 8
    max_pixels: int = MAX_PIXELS
    max_side: int = MAX_SIDE
    max_faces: int = 16
    max_connections: int = 256
    max_header_bytes: int = 16_384
    max_headers: int = 64
    keep_alive_s: int = 5
    body_timeout_s: float = 8.0
    write_timeout_s: float = 8.0
    prepare_threads: int = field(default_factory=lambda: min(4, count_usable_cores()))

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"a port is between 0 (any free one) and 65535, not {self.port}")
        _check_address(self.address)
        _check_root_path(self.root_path)
        for origin in self.allowed_origins:
            _check_origin(origin)
        for name, (lowest, highest) in _RANGES.items():
            value = getattr(self, name)
            # NaN is in no range.
            if value is not None and not lowest <= value <= highest:
                raise ConfigError(
                    f"{name} must be between {lowest:,} and {highest:,}, not {value:,}"
                )
        if self.token is not None:
            _check_token(self.token)
        elif not is_loopback(self.address):
            raise ConfigError(
                f"{self.host} can be reached from other machines; give a token with "
                f"--token-file or {TOKEN_VARIABLE}"
            )

    @property
    def address(self) -> str:
        """``host`` without the brackets that an IPv6 address has in a URL."""
        return _without_brackets(self.host)

    @property
    def deadline_s(self) -> float:
        """``deadline_ms`` in seconds."""
        return self.deadline_ms / 1e3

    @property
    def image_limits(self) -> ImageLimits:
        """The limits of each image; HEIC and AVIF are not read."""
        return replace(
            STRICT_LIMITS,
            max_bytes=self.max_body_bytes,
            max_pixels=self.max_pixels,
            max_side=self.max_side,
        )

    @property
    def upload_buffer_bytes(self) -> int:
        """What all request bodies together may hold: room for two of the largest at least."""
        return max(200_000_000, 2 * self.max_body_bytes)


_HOUR = 3600.0
_RANGES: dict[str, tuple[float, float]] = {
    "max_batch": (1, 4096),
    "max_delay_ms": (0, 10_000),
    "queue": (1, 100_000),
    "deadline_ms": (1, 3_600_000),
    "grace_s": (0.001, _HOUR),
    "max_body_bytes": (1, 2_000_000_000),
    "max_images": (1, 1000),
    "max_pixels": (1, 1_000_000_000),
    "max_side": (1, 65_535),
    "max_faces": (1, 1000),
    "max_connections": (1, 100_000),
    "max_header_bytes": (256, 1_000_000),
    "max_headers": (1, 10_000),
    "keep_alive_s": (1, _HOUR),
    "body_timeout_s": (0.001, _HOUR),
    "write_timeout_s": (0.001, _HOUR),
    "prepare_threads": (1, 256),
}


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address; the only such name is ``localhost``."""
    name = _without_brackets(host).rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _without_brackets(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _check_address(host: str) -> None:
    """Refuse a URL, and an address with a port; of a name the system knows whether it is one."""
    try:
        ipaddress.ip_address(host)
    except ValueError as error:
        if not host or set(":/[]").intersection(host):
            raise ConfigError(
                f"--host {printable(host, limit=100)} is not an address alone, such as 127.0.0.1, "
                "::1 or localhost; the port is given with --port"
            ) from error


def origin_of(url: str) -> str | None:
    """Return the origin of an http or https URL as browsers write it; None if it has none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if ":" in host:
            host = f"[{ipaddress.IPv6Address(host)}]"
        elif not _HOST_NAME.fullmatch(host):
            return None
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS:
        return None
    shown = "" if port in (None, DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def _check_origin(origin: str) -> None:
    canonical = origin_of(origin)
    if canonical != origin:
        advice = "such as https://faces.example" if canonical is None else f"write {canonical}"
        raise ConfigError(
            f"--allowed-origin {printable(origin, limit=100)} is not an origin as browsers send "
            f"it (scheme, host, and a port if it is not the default): {advice}"
        )


def _check_root_path(path: str) -> None:
    if path and not _ROOT_PATH.fullmatch(path):
        raise ConfigError(
            f"--root-path {printable(path, limit=100)} is not a path such as /faces: it begins "
            "with a slash, ends without one, and has only letters, digits and -._~ between slashes"
        )
    if taken := _OWN_PATHS.intersection(path.split("/")):
        raise ConfigError(
            f"--root-path {path} has /{min(taken)} in it, which is a path of the service itself; "
            "choose another"
        )


def token_from(file: Path | None) -> str | None:
    """Return the token of a file, else of the environment, stripped; None without both.

    There is no option for the token itself: other users of the machine can read a command line.

    Raises:
        FileError: If the file cannot be read.
        ConfigError: If it, or the variable, holds no token.
    """
    if file is None:
        given = os.environ.get(TOKEN_VARIABLE)
        return None if given is None else _check_token(given.strip(), source=TOKEN_VARIABLE)
    try:
        token = read_bytes(file, max_bytes=_LONGEST_TOKEN).decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise FileError(
            f"{file} holds bytes that are not ASCII, so no token; write a new one"
        ) from error
    if not token:
        raise ConfigError(
            f"{file} is empty; make a token with: (umask 077; openssl rand -hex 32 > {file})"
        )
    if file.stat().st_mode & 0o077:
        logger.warning(
            "%s can be read by other users of this machine; keep it to yourself: chmod 600 %s",
            file,
            file,
        )
    return _check_token(token, source=str(file))


def _check_token(token: str, *, source: str | None = None) -> str:
    if not _TOKEN.fullmatch(token):
        problem = "" if source is None else f"{source} holds no token: "
        raise ConfigError(
            f"{problem}a token is 16 to {_LONGEST_TOKEN} printable ASCII characters without "
            "spaces; make one with: openssl rand -hex 32"
        )
    return token
