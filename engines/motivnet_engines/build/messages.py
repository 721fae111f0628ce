"""The messages between the process that asks for an engine and the one that builds it.

Paths are arguments of that process instead, because a path need not be Unicode text.
"""

from __future__ import annotations

from motivnet.artifact.engine_entry import EngineDevice, EngineReport
from motivnet.artifact.manifest import Manifest
from motivnet.schema import Schema
from motivnet_engines.build.options import EngineOptions


class Request(Schema, frozen=True, kw_only=True):
    """What to build."""

    manifest: Manifest
    options: EngineOptions


class Stage(Schema, frozen=True, kw_only=True, tag=True):
    """What the builder does from now on, such as ``compiling the graph``."""

    stage: str


class Advance(Schema, frozen=True, kw_only=True, tag=True):
    """The fraction of the compilation that is done, 0 to 1."""

    fraction: float


class Success(Schema, frozen=True, kw_only=True, tag=True):
    """The engine that was built, and the builder's warnings."""

    version: str
    device: EngineDevice | None
    report: EngineReport
    peak_bytes: int
    warnings: tuple[str, ...]


class Failure(Schema, frozen=True, kw_only=True, tag=True):
    """An error for the user: the name of its class, and what ``EngineError`` holds."""

    error: str
    message: str
    problems: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
