from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.datastructures import Headers

from motivnet_engines.serving.http.errors import RequestError
from motivnet_engines.serving.http.uploads import read_uploads
from motivnet_engines.serving.service import Upload


def read(**headers: str) -> list[Upload]:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"by"
        yield b"tes"

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(read_uploads(Headers(named), pieces(), max_images=8))


@pytest.mark.parametrize(
    "kind", ["image/jpeg", "IMAGE/PNG", "image/x-unknown; q=1", "application/octet-stream"]
)
def test_an_image_is_sent_as_it_is(kind: str) -> None:
    assert read(content_type=kind) == [Upload(data=b"bytes")]
    assert read(content_type=kind, content_encoding="Identity") == [Upload(data=b"bytes")]


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "identity, gzip"])
@pytest.mark.parametrize("kind", ["image/jpeg", "application/json", "multipart/form-data"])
def test_a_compressed_body_is_refused(kind: str, encoding: str) -> None:
    with pytest.raises(RequestError, match="without Content-Encoding") as refused:
        read(content_type=kind, content_encoding=encoding)
    assert refused.value.status == 415


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("application/x-www-form-urlencoded", "not as application/x-www-form-urlencoded"),
        ("text/plain; charset=utf-8", "not as text/plain"),
        ("a\x1b[31m", r"not as a\x1b[31m"),
        ("", "not without a Content-Type"),
    ],
)
def test_a_body_of_another_type_is_told_its_type_and_the_right_ones(kind: str, told: str) -> None:
    with pytest.raises(RequestError) as refused:
        read(content_type=kind)
    assert refused.value.status == 415
    assert refused.value.message == (
        "send one image as image/* or application/octet-stream, or several as "
        f"multipart/form-data or application/json, {told}"
    )
