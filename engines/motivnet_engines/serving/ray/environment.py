"""What has to be decided before Ray is imported: whose machines a run is on, and where a Ray of our own listens."""

from __future__ import annotations

import os
import secrets

from motivnet.errors import ConfigError

_ADDRESS_VARIABLE = "RAY_ADDRESS"
_HERE = "local"
_ANY = "auto"

_QUIET = {"RAY_BACKEND_LOG_LEVEL": "fatal"}
"""The deaths of its workers are errors of ours."""

_CLOSED = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
"""Without a cluster: every port of Ray is on loopback, which the name of the variable does not
tell, and asks for a token. That is of this run and in no file."""


def cluster_address(address: str | None = None) -> str | None:
    """The address of the cluster that is to be joined, given or in RAY_ADDRESS; None for Ray on
    this machine alone.

    ``local`` is this machine alone, as it is for Ray.

    Raises:
        ConfigError: For ``auto``. Ray then joins whatever a file in ``/tmp`` names, into which
            every user can write, and a cluster runs code in those that join it.
    """
    named = address or os.environ.get(_ADDRESS_VARIABLE)
    if named == _ANY:
        raise ConfigError(
            f"the address {_ANY} joins any Ray that another user may have started; name the cluster as host:port, or "
            f"give {_HERE} for this machine alone"
        )
    return None if named == _HERE else named or None


def prepare_environment(address: str | None = None) -> None:
    """Sets what Ray reads when it is imported; a variable that the user has set stays as it is.

    Args:
        address: As ``cluster_address`` takes it.

    Raises:
        ConfigError: If it is not an address.
    """
    chosen = dict(_QUIET)
    if cluster_address(address) is None:
        chosen |= _CLOSED
        if "RAY_AUTH_TOKEN_PATH" not in os.environ:
            chosen["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    for name, value in chosen.items():
        os.environ.setdefault(name, value)
