"""Nothing of a user is reported to anyone: dependencies that send usage data are kept from it.

OpenVINO posts an event with a client's number to an analytics host at its import and keeps the
number in ``~/intel``. ONNX Runtime keeps a number of the device and a queue of events in
``~/.cache/Microsoft`` and sends them. Ray reports what it runs on. So this must happen before their
import.
"""

from __future__ import annotations

import os
import sys

_VARIABLES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Read at import, also by child processes, which inherit them."""

_REPORTERS = ("openvino_telemetry",)
"""Packages that do nothing but report; their users work without them."""


def switch_off() -> None:
    """Keep dependencies from reporting; a variable that the user has set stays as it is."""
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    for package in _REPORTERS:
        sys.modules.setdefault(package, None)  # type: ignore[arg-type]  # None makes its import fail
