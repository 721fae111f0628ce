"""What the process that asks for an engine and the one that builds it say to each other, as framed
JSON.

Not pickle: whatever a parser made of a bad file must not become code in the process that called it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO, TypeVar

from motivnet import strict_json
from motivnet.artifact.manifest import EngineDevice, EngineProof, Manifest
from motivnet_engines.build.options import EngineOptions

_LENGTH = struct.Struct(">I")
_MAX_BYTES = 4 * strict_json.MAX_BYTES

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to build. Paths are not in it but among the arguments, because a path may be no Unicode text."""

    manifest: Manifest
    options: EngineOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What the builder does from now on, such as ``compiling``."""

    stage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """How much of the compilation is done, 0 to 1."""

    fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """What was built; the warnings are the builder's own."""

    version: str
    device: EngineDevice | None
    proof: EngineProof
    peak_bytes: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error whose text is meant for the user: the name of its class, and what ``EngineError`` holds."""

    error: str
    message: str
    problems: tuple[str, ...] = ()
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One message of the builder."""

    body: Stage | Advance | Success | Failure


def write_message(stream: IO[bytes], message: object) -> None:
    """Sends a dataclass; characters that are not Unicode become question marks."""
    data = strict_json.dumps(message, errors="replace")
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def read_message(stream: IO[bytes], kind: type[T]) -> T | None:
    """The next message, or None where the stream has ended, even in the middle of one.

    Raises:
        StrictJSONError: If it is not such a message.
    """
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(header)
    if length > _MAX_BYTES:
        raise strict_json.StrictJSONError(
            f"a message of {length} bytes is more than the {_MAX_BYTES} allowed"
        )
    data = stream.read(length)
    return (
        strict_json.build(kind, strict_json.loads(data, max_bytes=_MAX_BYTES))
        if len(data) == length
        else None
    )
