"""Which engines this user built: an engine is native code, and one from elsewhere is run only if
the user says so.

The record is a folder of empty files in the user's state folder, one named by the SHA-256 of each
engine. A signature in the artifact would travel with it and need a key to be kept; this does
neither, and whoever could write into the folder could run code as the user already.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from motivnet.artifact import Artifact
from motivnet.artifact.manifest import EngineEntry
from motivnet.errors import FileError
from motivnet_engines.system.user_folders import check_private, made_private, user_state


def remember_engine(sha256: str) -> None:
    """Records that this user built the engine with this SHA-256.

    Raises:
        FileError: If there is no place for the record.
    """
    path = made_private(_records()) / sha256
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror or error}") from error


def is_own_engine(sha256: str) -> bool:
    """Whether this user built the engine with this SHA-256."""
    try:
        folder = _records()
        check_private(folder)
        status = (folder / sha256).lstat()
    except (FileError, OSError):
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def strange_engine(artifact: Artifact, backend: str) -> EngineEntry | None:
    """The artifact's engine of this backend if another user or machine built it, else None."""
    engine = artifact.manifest.engine(backend)
    if engine is None or is_own_engine(artifact.manifest.entry(engine.path).sha256):
        return None
    return engine


def way_to_trust(named_by: str) -> str:
    """What a user does who trusts a strange engine, which an option such as ``--runtime tensorrt`` names."""
    return (
        f"an engine is native code: if you trust where it comes from, name it with {named_by} or give "
        "--trust-engines, else build it here with: motivnet build-engine"
    )


def _records() -> Path:
    return user_state() / "engines"
