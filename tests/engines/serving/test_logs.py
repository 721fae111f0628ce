from __future__ import annotations

import json
import logging
import sys

from motivnet_engines.serving.logs import JSONLines


def test_whatever_is_logged_is_one_line_of_json() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        error = sys.exc_info()
    record = logging.LogRecord("x", logging.ERROR, "file", 1, "an event\r\n\x1b[31m", None, error)
    record.fields = {"status": 500, "path": "/\u2028"}
    text = JSONLines().format(record)
    assert text.isascii()
    assert text.isprintable()
    line = json.loads(text)
    assert (line["level"], line["event"], line["status"]) == ("error", "an event\r\n\x1b[31m", 500)
    assert line["traceback"].endswith("ValueError: two\nlines")
    assert line["time"].endswith("Z")
