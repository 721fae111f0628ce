"""What the benchmark and its workers say to each other: one JSON object a line."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

from motivnet import strict_json
from motivnet.config import ModelConfig

MAX_LINE = 64_000_000

TorchCompute = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PyTorchModel:
    """The PyTorch baseline: a checkpoint, or random weights of these sizes where there is none."""

    checkpoint: str | None
    config: ModelConfig
    compute: TorchCompute
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactModel:
    """An artifact's folder and the runtime that opens it."""

    folder: str
    runtime: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """Open a model, load the ``.npy`` input, make the first call and ``warmup`` more."""

    kind: Literal["open"] = "open"
    model: PyTorchModel | ArtifactModel
    input: str
    threads: int
    warmup: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRequest:
    """Measure calls one after the other for ``duration`` seconds, at least one."""

    kind: Literal["turn"] = "turn"
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRequest:
    """Tell the peak memory."""

    kind: Literal["memory"] = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Seconds of loading and of the first call, and the logits ``(B, classes)`` of the input."""

    kind: Literal["opened"] = "opened"
    compute: str
    device: str
    load: float
    first_call: float
    logits: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Seconds of every measured call."""

    kind: Literal["turn"] = "turn"
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Peak resident memory of the process in bytes."""

    kind: Literal["memory"] = "memory"
    peak: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """What was asked for could not be done, in one line."""

    kind: Literal["failed"] = "failed"
    error: str


Request = OpenRequest | TurnRequest | MemoryRequest
Reply = Opened | Turn | Memory | Failed

_REQUESTS: dict[str, type[Request]] = {
    "open": OpenRequest,
    "turn": TurnRequest,
    "memory": MemoryRequest,
}
_REPLIES: dict[str, type[Reply]] = {
    "opened": Opened,
    "turn": Turn,
    "memory": Memory,
    "failed": Failed,
}


def encode(message: Request | Reply) -> bytes:
    """The message as one line; refuses numbers that are not finite."""
    return json.dumps(dataclasses.asdict(message), allow_nan=False).encode() + b"\n"


def decode_request(line: bytes) -> Request:
    """The request in a line.

    Raises:
        StrictJSONError: If there is none.
    """
    value = strict_json.loads(line, max_bytes=MAX_LINE)
    return strict_json.build(_REQUESTS[_kind_of(value, _REQUESTS)], value)


def decode_reply(line: bytes) -> Reply:
    """The reply in a line.

    Raises:
        StrictJSONError: If there is none.
    """
    value = strict_json.loads(line, max_bytes=MAX_LINE)
    return strict_json.build(_REPLIES[_kind_of(value, _REPLIES)], value)


def _kind_of(value: Any, known: dict[str, Any]) -> str:
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind not in known:
        raise strict_json.StrictJSONError(
            f"a message must be of a kind of {sorted(known)}, not {kind!r}"
        )
    return str(kind)
