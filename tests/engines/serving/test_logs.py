from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from motivnet_engines.serving.logs import JSONLines, configure_logging
from motivnet_engines.serving.refusals import RefusedError
from motivnet_engines.serving.uploads import BodyType, uploads_of_body


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
    loggers = [
        logging.getLogger(name)
        for name in (None, "motivnet_engines", "uvicorn", "python_multipart")
    ]
    levels = [logger.level for logger in loggers]
    yield
    root.handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.mark.usefixtures("_restored_logging")
def test_a_form_that_is_not_one_is_no_line_of_the_log() -> None:
    stream = io.StringIO()
    configure_logging(stream)
    with pytest.raises(RefusedError):
        uploads_of_body(b"--x", BodyType(boundary=b"b"), max_images=1)
    logging.getLogger("motivnet_engines").warning("a line")
    assert json.loads(stream.getvalue())["event"] == "a line"
