"""The limits of a service, as one value."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from motivnet.errors import ConfigError, FileError
from motivnet.files import read_bytes
from motivnet.images import MAX_BYTES

TOKEN_VARIABLE = "MOTIVNET_TOKEN"  # noqa: S105 - the name of a variable
_SHORTEST_TOKEN = 16
_LONGEST_TOKEN = 1024
_HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Where a service listens, and what it takes from a client.

    Args:
        token: What every client must present; None lets everybody in who can reach a loopback address.
        max_batch: Faces of one call of the runtime; the classifier's batch size if None.
        max_delay_ms: How long the first face of a batch may wait for others.
        queue: Requests that may be waiting or in work at once.
        deadline_ms: How long a request may take from the last byte of its body to its answer.
        grace_s: How long accepted requests may take once the service is asked to end.
        max_images: Images of one request.
        max_faces: Faces of one image that are classified, the largest first.
        max_waiting_bytes: All the bodies that are held at once.
        header_timeout_s: From the connection, or the last answer, to the end of a request's head.
        body_timeout_s: From the head of a request to the end of its body.
        write_timeout_s: How long a client may leave its answer unread.

    Raises:
        ConfigError: If a limit is not positive, or an address beyond loopback has no token.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    max_batch: int | None = None
    max_delay_ms: float = 2.0
    queue: int = 64
    deadline_ms: int = 10_000
    grace_s: float = 10.0
    max_body_bytes: int = MAX_BYTES
    max_images: int = 8
    max_faces: int = 16
    max_waiting_bytes: int = 200_000_000
    max_connections: int = 256
    max_header_bytes: int = 16_384
    max_headers: int = 64
    header_timeout_s: float = 5.0
    body_timeout_s: float = 8.0
    write_timeout_s: float = 8.0
    prepare_threads: int = field(default_factory=lambda: min(4, os.cpu_count() or 1))

    def __post_init__(self) -> None:
        if not 0 <= self.port <= _HIGHEST_PORT:
            raise ConfigError(f"a port is between 0 (any free one) and {_HIGHEST_PORT}, not {self.port}")
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} must be above 0, not {value}")
        if self.max_delay_ms < 0:
            raise ConfigError(f"max_delay_ms must not be below 0, not {self.max_delay_ms}")
        _check_token(self.token)
        if self.token is None and not is_loopback(self.host):
            raise ConfigError(
                f"{self.host} can be reached from other machines; give a token with --token-file or {TOKEN_VARIABLE}"
            )

    @property
    def deadline_s(self) -> float:
        """``deadline_ms`` in seconds."""
        return self.deadline_ms / 1e3


_POSITIVE = (
    "max_batch",
    "queue",
    "deadline_ms",
    "grace_s",
    "max_body_bytes",
    "max_images",
    "max_faces",
    "max_waiting_bytes",
    "max_connections",
    "max_header_bytes",
    "max_headers",
    "header_timeout_s",
    "body_timeout_s",
    "write_timeout_s",
    "prepare_threads",
)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; of names only ``localhost`` is believed."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_from(file: Path | None) -> str | None:
    """The token in a file, else in the environment, without white space around it; None where neither is given.

    There is no option for the token itself: other users of the machine can read a command line.

    Raises:
        FileError: If the file cannot be read.
        ConfigError: If it holds no token.
    """
    if file is None:
        return os.environ.get(TOKEN_VARIABLE)
    try:
        token = read_bytes(file, max_bytes=_LONGEST_TOKEN).decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise FileError(f"{file} holds bytes that are not ASCII, so no token; write a new one") from error
    if not token:
        raise ConfigError(f"{file} is empty; make a token with: openssl rand -hex 32")
    return token


def _check_token(token: str | None) -> None:
    if token is None:
        return
    if not _SHORTEST_TOKEN <= len(token) <= _LONGEST_TOKEN or not all("!" <= letter <= "~" for letter in token):
        raise ConfigError(
            f"a token is {_SHORTEST_TOKEN} to {_LONGEST_TOKEN} printable ASCII characters without spaces; "
            "make one with: openssl rand -hex 32"
        )
