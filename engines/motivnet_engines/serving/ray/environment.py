"""Decisions before Ray is imported: whose machines a run is on, and where a local Ray listens.

This module must not import Ray, which reads its environment variables when it is imported.
"""

from __future__ import annotations

import os
import secrets

from motivnet.errors import ConfigError


def cluster_address(address: str | None = None) -> str | None:
    """Return the address of the cluster to join, given or in RAY_ADDRESS; None for a local Ray.

    ``local`` is this machine alone, as it is for Ray.

    Raises:
        ConfigError: For ``auto``. Ray then joins whatever a file in ``/tmp`` names, into which
            every user can write, and a cluster runs code in those that join it.
    """
    named = address or os.environ.get("RAY_ADDRESS")
    if named == "auto":
        raise ConfigError(
            "the address auto joins any Ray that another user may have started; name the cluster "
            "as host:port, or give local for this machine alone"
        )
    return None if named == "local" else named or None


def prepare_environment(address: str | None = None) -> None:
    """Set what Ray reads when it is imported; variables that the user has set stay.

    Raises:
        ConfigError: As ``cluster_address``.
    """
    # The deaths of workers are reported as errors of the run.
    chosen = {"RAY_BACKEND_LOG_LEVEL": "fatal"}
    if cluster_address(address) is None:
        # Every port of Ray is on loopback (which the name of the first variable does not tell) and
        # requires a token. The token belongs to this run and is in no file.
        chosen |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
        if "RAY_AUTH_TOKEN_PATH" not in os.environ:
            chosen["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    for name, value in chosen.items():
        os.environ.setdefault(name, value)
