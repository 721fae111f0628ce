"""Forms as RFC 7578 describes them and as clients write them, byte by byte."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from motivnet_engines.serving.http.errors import RequestError
from motivnet_engines.serving.http.uploads import read_uploads
from motivnet_engines.serving.service import Upload

BOUNDARY = b"----boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY.decode()}"
DATA = b"\x89PNG\r\n\x1a\n\x00--\r\n"


def form(*parts: bytes) -> bytes:
    pieces = [b"--" + BOUNDARY + b"\r\n" + part + b"\r\n" for part in parts]
    return b"".join(pieces) + b"--" + BOUNDARY + b"--\r\n"


def part(*lines: str | bytes, data: bytes = DATA) -> bytes:
    head = [line.encode() if isinstance(line, str) else line for line in lines]
    return b"\r\n".join([*head, b"", data])


def field(data: bytes) -> bytes:
    return part('Content-Disposition: form-data; name="f"', data=data)


def file(data: bytes) -> bytes:
    disposition = 'Content-Disposition: form-data; name="f"; filename="a.png"'
    return part(disposition, "Content-Type: image/png", data=data)


def read(
    body: bytes, kind: str = FORM, *, max_images: int = 8, piece: int = 65_536
) -> list[Upload]:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), piece):
            yield body[start : start + piece]

    headers = Headers({"content-type": kind})
    return asyncio.run(read_uploads(headers, pieces(), max_images=max_images))


def refusal(body: bytes, kind: str = FORM, **options: int) -> str:
    with pytest.raises(RequestError) as refused:
        read(body, kind, **options)
    assert refused.value.code == "bad_request"
    assert refused.value.message.isprintable()
    return refused.value.message


def outcome(body: bytes) -> str:
    try:
        read(body)
    except RequestError as refused:
        return refused.code
    return "read"


@settings(deadline=None)
@given(
    st.lists(
        st.binary(max_size=300).filter(lambda data: BOUNDARY not in data), min_size=1, max_size=8
    ),
    st.integers(1, 400),
)
def test_every_byte_of_every_file_is_read_in_order(contents: list[bytes], piece: int) -> None:
    uploads = read(form(*map(file, contents)), piece=piece)
    assert [upload.data for upload in uploads] == contents


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_form_is_refused_or_read_and_nothing_else(data: st.DataObject) -> None:
    body = bytearray(form(file(b"first"), file(b"second")))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(0, len(body) - 1)))
        if data.draw(st.booleans()):
            body[place:place] = data.draw(st.binary(min_size=1, max_size=5))
        else:
            del body[place : place + data.draw(st.integers(1, 30))]
    assert outcome(bytes(body)) in ("read", "bad_request")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            (
                *('filename="a.png"', "filename*=UTF-8''a", "filename*0*=hex''%41", "filename*1=x"),
                *("name=f", 'name="', "filename*=idna'%", "filename*=\x00''%00", '"', ";", "ü"),
            )
        ),
        max_size=5,
    )
)
def test_whatever_a_disposition_says_is_read_or_refused(parameters: list[str]) -> None:
    disposition = "; ".join(["Content-Disposition: form-data", *parameters])
    body = form(part(disposition, "Content-Type: image/png"))
    assert outcome(body) in ("read", "bad_request")


@pytest.mark.parametrize(
    "body",
    [
        form(file(b"x"))[:-4],
        form(file(b"x"), file(b"y"))[:-20],
        form(field(b"x")),
        form(b"\r\nx"),
        form(*[field(b"x")] * 17, file(b"x")),
        form(field(b"x" * 70_000), file(b"x")),
        form(*[file(b"x")] * 3),
        form(b"X: " + b"a" * 100_000 + b"\r\n\r\nx"),
        form(b"".join(b"X%d: 1\r\n" % number for number in range(1000)) + b"\r\nx"),
        b"x" * 1_000_000,
    ],
)
def test_a_form_that_is_too_much_or_not_one_is_refused(body: bytes) -> None:
    assert refusal(body, max_images=2)


NAMED = 'Content-Disposition: form-data; name="image"'


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (f'{NAMED}; filename="a.png"', "a.png"),
        ("Content-Disposition: form-data; filename=a.png; name=images", "a.png"),
        ("content-disposition:FORM-DATA;FileName=a.png;NAME=images", "a.png"),
        ('Content-Disposition: form-data; name="f" ; filename = "a.png"', "a.png"),
        ('Content-Disposition: form-data; filename="a.png"', "a.png"),
        ('Content-Disposition: attachment; name=f; filename="a.png"', "a.png"),
        (f'{NAMED}; filename="a;b=c.png"', "a;b=c.png"),
        (f'{NAMED}; filename="a \\"b\\" c.png"', 'a "b" c.png'),
        (f'{NAMED}; filename="a%22b.png"', "a%22b.png"),  # as browsers write a quotation mark
        (f'{NAMED}; filename="C:\\faces\\a.png"', "a.png"),
        (f'{NAMED}; filename="ü.png"', "ü.png"),
        (f'{NAMED}; filename="ü.png"'.encode("latin-1"), "ü.png"),
        (f"{NAMED}; filename*=UTF-8''%C3%BC%20%e2%82%ac.png", "ü €.png"),
        (f"{NAMED}; filename*=utf-8'en'a.png; filename=\"_.png\"", "a.png"),
        # .NET
        (f"{NAMED}; filename=\"=?utf-8?B?w7w=?=\"; filename*=utf-8''%C3%BC.png", "ü.png"),
        (f"{NAMED}; filename*=iso-8859-1''%FC.png", "ü.png"),
        (f"{NAMED}; filename*=no-charset''a.png", "a.png"),
        (f"{NAMED}; filename*0=a; filename*1=.png", "a.png"),
        (f'{NAMED}; filename=""', None),
        (NAMED, None),
    ],
)
def test_a_file_is_known_however_its_name_is_written(
    disposition: str | bytes, name: str | None
) -> None:
    assert read(form(part(disposition))) == [Upload(data=DATA, name=name)]


@pytest.mark.parametrize(
    "name", ["image", "images", "Image", "images[]", "images[0]", "file", "files", "files[12]"]
)
def test_a_part_without_a_filename_is_an_image_by_its_name(name: str) -> None:
    for quoted in (name, f'"{name}"'):
        body = form(part(f"Content-Disposition: form-data; name={quoted}"))
        assert read(body) == [Upload(data=DATA)]


@pytest.mark.parametrize(
    "line",
    [
        "Content-Type: image/jpeg",
        "content-type:IMAGE/PNG; charset=UTF-8",
        "Content-Type: application/octet-stream",
    ],
)
def test_a_part_of_any_name_is_an_image_by_its_type(line: str) -> None:
    assert read(form(part('Content-Disposition: form-data; name="x"', line))) == [Upload(data=DATA)]
    assert read(form(part(line, 'Content-Disposition: form-data; name="x"'))) == [Upload(data=DATA)]
    assert read(form(part(line))) == [Upload(data=DATA)]


def test_a_form_without_an_image_is_told_what_one_is_and_what_it_has() -> None:
    body = form(
        part('Content-Disposition: form-data; name="photo"'),
        part('Content-Disposition: form-data; name="a\x1b[31m"'),
    )
    assert refusal(body) == (
        "the form holds no image: a part is one if it has a filename, or is called image; it has "
        r"'photo', 'a\x1b[31m'"
    )
    assert refusal(form()).endswith("or is called image")


def test_a_large_part_that_is_not_known_to_be_an_image_is_not_left_out_silently() -> None:
    disposition = 'Content-Disposition: form-data; name="photo"'
    body = form(file(DATA), part(disposition, data=DATA * 10_000))
    assert "the part 'photo' holds more than 65,536 bytes and is not known" in refusal(body)


@pytest.mark.parametrize("data", [b"photo.jpg", b"@photo.jpg", b"https://faces.example/a.jpg", b""])
def test_a_name_in_place_of_a_file_is_told_how_to_send_one(data: bytes) -> None:
    assert refusal(form(part(NAMED, data=data))) == (
        "the part 'image' holds text and no file; with curl: -F image=@photo.jpg"
    )


def test_several_files_in_one_part_are_told_to_have_one_each() -> None:
    body = form(part(NAMED, "Content-Type: multipart/mixed; boundary=b", data=b"--b--"))
    assert refusal(body) == "the part 'image' holds several files; give each a part of its own"


def test_an_input_without_a_chosen_file_is_left_out() -> None:
    disposition = 'Content-Disposition: form-data; name="second"; filename=""'
    empty = part(disposition, "Content-Type: application/octet-stream", data=b"")
    assert read(form(file(DATA), empty)) == [Upload(data=DATA, name="a.png")]
    assert "holds no image" in refusal(form(empty))


def test_an_empty_file_is_an_image_that_cannot_be_read() -> None:
    assert read(form(file(b""))) == [Upload(data=b"", name="a.png")]


@pytest.mark.parametrize("encoding", ["binary", "8bit", "7BIT"])
def test_a_part_is_taken_as_it_is_under_the_encodings_that_change_nothing(encoding: str) -> None:
    disposition = f'{NAMED}; filename="a.png"'
    body = form(part(disposition, f"Content-Transfer-Encoding: {encoding}"))
    assert read(body) == [Upload(data=DATA, name="a.png")]


def test_a_part_in_base64_is_decoded() -> None:
    disposition = f'{NAMED}; filename="a.png"'
    encoded = base64.encodebytes(DATA * 20).replace(b"\n", b"\r\n")
    body = form(part(disposition, "Content-Transfer-Encoding: Base64", data=encoded))
    for piece in (7, 65_536):
        assert read(body, piece=piece) == [Upload(data=DATA * 20, name="a.png")]
    body = form(part(disposition, "Content-Transfer-Encoding: base64", data=DATA))
    assert refusal(body) == "the part 'image' is not base64"


def test_a_part_in_another_encoding_is_refused() -> None:
    body = form(part(f"{NAMED}; filename=a", "Content-Transfer-Encoding: quoted-printable"))
    assert "sent as it is, or in base64, not as quoted-printable" in refusal(body)


@pytest.mark.parametrize("piece", [1, 65_536])
def test_what_stands_before_and_after_the_boundaries_is_left_out(piece: int) -> None:
    for preamble in (b"", b"\r\n", b"This is a form.\r\n\r\n", b"-" * 500 + b"\r\n"):
        body = preamble + form(file(DATA)) + b"the end" * 1000
        assert read(body, piece=piece) == [Upload(data=DATA, name="a.png")]
    assert refusal(b"a" * 5000 + b"\r\n" + form(file(DATA)), piece=piece)


def test_a_form_whose_lines_end_with_lf_alone_is_told_so() -> None:
    body = form(file(b"x")).replace(b"\r\n", b"\n")
    for piece in (1, 65_536):
        assert "ends with CR and LF, in this form with LF alone" in refusal(body, piece=piece)


@pytest.mark.parametrize(
    ("boundary", "written"),
    [
        ("a b", '"a b"'),
        ("b", "b; charset=UTF-8"),
        ("b", '"b"; charset="utf-8"'),
        ("'()+_,-./:=?", '"\'()+_,-./:=?"'),
        ("0" * 70, "0" * 70),
    ],
)
def test_a_boundary_may_be_whatever_rfc_2046_allows(boundary: str, written: str) -> None:
    body = form(file(b"x")).replace(BOUNDARY, boundary.encode())
    for kind in ("multipart/form-data; boundary=", "Multipart/Form-Data;Boundary="):
        assert len(read(body, kind + written)) == 1


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary="])
def test_a_form_without_a_boundary_is_told_so(kind: str) -> None:
    assert refusal(form(file(DATA)), kind) == "a form needs a boundary of 1 to 70 characters"
