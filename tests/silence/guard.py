"""Refuses and records what leaves this machine; every Python of the tests imports it at start."""

from __future__ import annotations

import ipaddress
import os
import sys
from typing import Any

_OUTWARD = {"socket.connect", "socket.sendto", "socket.sendmsg"}
_LOOKUPS = {"socket.getaddrinfo", "socket.gethostbyname"}


def _is_here(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name in ("", "localhost", "None")


def _refused(event: str, arguments: tuple[Any, ...]) -> bool:
    if event in _OUTWARD:
        address = arguments[-1]
        # Other addresses are paths of AF_UNIX and numbers of AF_NETLINK.
        return (
            isinstance(address, tuple) and isinstance(address[0], str) and not _is_here(address[0])
        )
    return event in _LOOKUPS and not _is_here(arguments[0])


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _refused(event, arguments):
        with open(os.environ["GUARD_LOG"], "a", encoding="utf-8") as log:
            log.write(f"{event} {arguments[-1 if event in _OUTWARD else 0]} by {sys.orig_argv}\n")
        raise PermissionError(f"{event} is refused in this test")


sys.addaudithook(_hook)
