from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from motivnet_engines.serving.logs import JSONLines, configure_logging


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


@pytest.fixture
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers = list(root.handlers)
    names = (None, "motivnet_engines", "uvicorn", "python_multipart")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    yield
    root.handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.mark.usefixtures("_restored_logging")
def test_what_clients_do_wrong_is_no_line_of_the_libraries_in_the_log(client: Any) -> None:
    stream = io.StringIO()
    configure_logging(stream)
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert client.predict(b"--x", headers=headers).status_code == 400
    [line] = map(json.loads, stream.getvalue().splitlines())
    assert (line["event"], line["status"]) == ("request", 400)
