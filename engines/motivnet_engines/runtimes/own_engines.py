"""Which engines this user built: an engine is native code, and others are run only if asked for.

The record is a folder of empty files in the user's state folder, each named by the SHA-256 of an
engine. A signature in the artifact would need a key that must be kept secret. This record needs
none, and whoever can write into the folder can run code as the user anyway.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from motivnet.artifact import Artifact
from motivnet.errors import FileError
from motivnet_engines.system.user_folders import check_private, make_private, user_state


def remember_engine(sha256: str) -> None:
    """Record that this user built the engine with this SHA-256.

    Raises:
        FileError: If the record cannot be written.
    """
    path = make_private(_records()) / sha256
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror or error}") from error


def is_own_engine(sha256: str) -> bool:
    """Return whether this user built the engine with this SHA-256 here."""
    try:
        folder = _records()
        check_private(folder)
        status = (folder / sha256).lstat()
    except (FileError, OSError):
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def untrusted_engine(artifact: Artifact, backend: str) -> bool:
    """Return whether the artifact has an engine of this backend that this user did not build."""
    engine = artifact.manifest.engine(backend)
    return engine is not None and not is_own_engine(artifact.manifest.entry(engine.path).sha256)


def trust_advice(option: str) -> str:
    """Return how to run an untrusted engine; ``option`` names it, as ``--runtime tensorrt``."""
    return (
        f"an engine is native code: if you trust where it comes from, name it with {option} or "
        "give --trust-engines, else build it here with: motivnet build-engine"
    )


def _records() -> Path:
    return user_state() / "engines"
