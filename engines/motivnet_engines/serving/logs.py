"""The service's log: one JSON object per line, whatever a client or an exception contains."""

from __future__ import annotations

import json
import logging
import time
from typing import Any, TextIO

from motivnet.printable import shortened


def log(
    logger: logging.Logger,
    event: str,
    *,
    level: int = logging.INFO,
    exc_info: bool = False,
    **fields: Any,
) -> None:
    """Log an event with named values, and with the exception being handled if asked to."""
    logger.log(level, event, exc_info=exc_info, extra={"fields": fields})


class JSONLines(logging.Formatter):
    """Records as JSON; control characters and line ends within them are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        fields = getattr(record, "fields", {})
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "event": shortened(record.getMessage()),
            **{
                name: shortened(value) if isinstance(value, str) else value
                for name, value in fields.items()
            },
        }
        if record.exc_info:
            line["traceback"] = shortened(self.formatException(record.exc_info), 20_000)
        return json.dumps(line, default=str)


def configure_logging(stream: TextIO) -> None:
    """Send every record of this process to a stream as JSON lines, and to no other handler."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("motivnet_engines").setLevel(logging.INFO)
    # Errors of the service are logged by its own middleware; what these log is caused by clients.
    for name in ("uvicorn", "python_multipart"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
