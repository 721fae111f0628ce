from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motivnet_engines.serving.refusals import RefusedError
from motivnet_engines.serving.uploads import BodyType, Upload, body_type, uploads_of_body

BOUNDARY = b"----boundary"
KIND = BodyType(boundary=BOUNDARY)


def form(*parts: bytes) -> bytes:
    return (
        b"".join(b"--" + BOUNDARY + b"\r\n" + part + b"\r\n" for part in parts)
        + b"--"
        + BOUNDARY
        + b"--\r\n"
    )


def file(data: bytes, name: bytes = b"a.png") -> bytes:
    return (
        b'Content-Disposition: form-data; name="f"; filename="'
        + name
        + b'"\r\nContent-Type: image/png\r\n\r\n'
        + data
    )


def read(body: bytes) -> int:
    """The status that a form leads to."""
    try:
        return 200 if uploads_of_body(body, KIND, max_images=8) else 0
    except RefusedError as refused:
        return refused.status


@given(
    st.lists(
        st.binary(max_size=300).filter(lambda data: BOUNDARY not in data), min_size=1, max_size=8
    )
)
def test_every_byte_of_every_file_comes_through_in_order(contents: list[bytes]) -> None:
    uploads = uploads_of_body(form(*map(file, contents)), KIND, max_images=8)
    assert [upload.data for upload in uploads] == contents


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_form_is_refused_or_read_and_nothing_else(data: st.DataObject) -> None:
    body = bytearray(form(file(b"first"), file(b"second")))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(0, len(body) - 1)))
        if data.draw(st.booleans()):
            body[place:place] = data.draw(st.binary(min_size=1, max_size=5))
        else:
            del body[place : place + data.draw(st.integers(1, 30))]
    assert read(bytes(body)) in {200, 400}


@pytest.mark.parametrize(
    "body",
    [
        form(file(b"x"))[:-4],
        form(b'Content-Disposition: form-data; name="f"\r\n\r\nx'),
        form(b"\r\nx"),
        form(*[b'Content-Disposition: form-data; name="f"\r\n\r\nx'] * 17, file(b"x")),
        form(*[file(b"x")] * 3),
        form(b"X: " + b"a" * 100_000 + b"\r\n\r\nx"),
        form(b"".join(b"X%d: 1\r\n" % number for number in range(1000)) + b"\r\nx"),
        b"x" * 1_000_000,
    ],
)
def test_a_form_that_is_too_much_or_not_one_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        uploads_of_body(body, KIND, max_images=2)
    assert refused.value.code == "bad_request"


@pytest.mark.parametrize("kind", [b"image/png", b"IMAGE/JPEG; q=1", b"application/octet-stream"])
def test_a_part_of_an_images_type_needs_no_filename(kind: bytes) -> None:
    part = (
        b'Content-Disposition: form-data; name="image"\r\nContent-Type: ' + kind + b"\r\n\r\nbytes"
    )
    note = b'Content-Disposition: form-data; name="note"\r\nContent-Type: text/plain\r\n\r\ntext'
    assert uploads_of_body(form(part, note), KIND, max_images=8) == [
        Upload(data=b"bytes", name=None)
    ]


@pytest.mark.parametrize(
    "text", ["image/jpeg", "IMAGE/PNG", "image/x-unknown; q=1", "application/octet-stream"]
)
def test_an_image_is_sent_as_it_is(text: str) -> None:
    assert body_type(text, None) == BodyType()


def test_a_form_says_its_boundary() -> None:
    assert body_type('multipart/form-data; boundary="a b"', "identity") == BodyType(boundary=b"a b")
