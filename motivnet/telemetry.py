"""Nothing of a user is reported to anyone: dependencies that send usage data are kept from it.

OpenVINO, ONNX Runtime and Ray report themselves at or after their import, which must come later.
"""

from __future__ import annotations

import os
import sys


def switch_off() -> None:
    """Keep dependencies from reporting; a variable that the user has set stays as it is.

    The variables are read at import, also by child processes, which inherit them. The package does
    nothing but report: its users work without it.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # None makes its import fail.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
