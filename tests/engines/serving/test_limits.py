from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.datastructures import Headers

from motivnet_engines.serving.limits import check_head
from motivnet_engines.serving.refusals import RefusedError
from motivnet_engines.serving.settings import ServeSettings


@pytest.mark.parametrize("length", ["0", "5", "20000000"])
def test_a_request_with_two_ends_is_refused_and_its_connection_closed(length: str) -> None:
    headers = Headers({"Content-Length": length, "Transfer-Encoding": "chunked"})
    with pytest.raises(RefusedError) as refused:
        check_head(headers, ServeSettings())
    assert (refused.value.code, refused.value.status) == ("bad_request", 400)
    assert refused.value.headers["Connection"] == "close"


def test_a_request_with_one_end_is_not() -> None:
    check_head(Headers({"Content-Length": "5"}), ServeSettings())
    check_head(Headers({"Transfer-Encoding": "chunked"}), ServeSettings())


def test_the_application_refuses_two_ends_before_it_reads(make_app: Callable[..., Any]) -> None:
    app = make_app()
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    names = {"host": "localhost:8000", "content-length": "0", "transfer-encoding": "chunked"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/predict",
        "raw_path": b"/v1/predict",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in names.items()],
    }
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 400
    assert (b"connection", b"close") in sent[0]["headers"]
