"""Images as base64 in JSON, and what is refused before it is decoded."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.serving.http.base64_images import images_from_json
from motivnet_engines.serving.http.errors import RequestError

DATA = bytes(range(256)) * 3 + b"\xfb\xff\xfe"
TEXT = base64.b64encode(DATA).decode()


def refusal(value: object, *, max_images: int = 8) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(RequestError) as refused:
        images_from_json(data, max_images=max_images)
    assert refused.value.code == "bad_request"
    assert refused.value.message.isprintable()
    return refused.value.message


@pytest.mark.parametrize(
    "body",
    [
        {"images": [TEXT]},
        {"images": TEXT},
        {"image": TEXT},
        {"image": {"b64": TEXT}},
        {"instances": [{"b64": TEXT}]},
        {"instances": [TEXT]},
        {"image": TEXT, "images": None},
    ],
)
def test_the_forms_that_clients_send_are_read(body: dict[str, Any]) -> None:
    assert images_from_json(json.dumps(body).encode(), max_images=8) == [DATA]


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.rstrip("="),
        base64.urlsafe_b64encode(DATA).decode(),
        base64.encodebytes(DATA).decode(),
        TEXT.replace("A", "A\r\n "),
        f"data:image/png;base64,{TEXT}",
        f"DATA:image/png;name=a.png;BASE64,{TEXT}",
        f"data:;base64,{TEXT}",
    ],
)
def test_base64_is_read_however_it_is_written(text: str) -> None:
    assert images_from_json(json.dumps({"image": text}).encode(), max_images=1) == [DATA]


@pytest.mark.parametrize("url", ["https://faces.example/a.jpg", "http://a", "file:///a", "S3://a"])
def test_a_url_is_refused_plainly(url: str) -> None:
    assert refusal({"images": [TEXT, url]}) == (
        "image 2 is a URL, and this service fetches nothing: send its bytes as base64"
    )


@pytest.mark.parametrize("text", ["!", "ä" * 8, "AAAA\u2028", "A", "AAAAA", "A=AA", "a,b"])
def test_what_is_not_base64_is_told_so(text: str) -> None:
    assert refusal({"image": text}) == "the image is not base64"


def test_a_data_url_without_base64_is_told_so() -> None:
    assert refusal({"image": "data:image/svg+xml,%3Csvg"}) == (
        "the image is a data URL that is not in base64"
    )


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"QUFB"',
        b"\xff\xfe",
        b'{"images": ["\xff"]}',
        b"[" * 100_000,
        b'{"image": ' * 3,
        {},
        {"images": []},
        {"images": None},
        {"images": [None]},
        {"images": [1]},
        {"images": [[TEXT]]},
        {"images": {"b64": TEXT, "name": "a"}},
        {"images": "\ud800"},
        {"inputs": [TEXT]},
        {"image": TEXT, "model\x1b": "x"},
        {"image": TEXT, "images": [TEXT]},
        {"instances": [{"image_bytes": {"b64": TEXT}}]},
    ],
)
def test_other_json_is_told_the_form_that_is_read(value: object) -> None:
    assert '{"images": ["BASE64", ...]} with 1 to 8 images' in refusal(value)


def test_more_images_than_allowed_are_refused() -> None:
    assert images_from_json(json.dumps({"images": [TEXT] * 2}).encode(), max_images=2)
    assert "with 1 to 2 images" in refusal({"images": [TEXT] * 3}, max_images=2)
    assert "with 1 to 2 images" in refusal({"images": [{"b64": ""}] * 3}, max_images=2)


@pytest.mark.parametrize("item", ['""', '{"b64":""}', "[]", "{}", "0"])
def test_millions_of_values_are_refused_before_they_are_built(
    item: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = f'{{"images":[{",".join([item] * 300_000)}]}}'.encode()
    tracemalloc.start()
    try:
        assert refusal(data)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def send(client: Any, body: object, **headers: str) -> Any:
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return client.predict(json.dumps(body).encode(), headers={**kind, **headers})


def test_json_gets_what_the_classifier_says_of_each_image_in_order(
    client: Any, unique_photo: Callable[[int], bytes], classifier: EmotionClassifier
) -> None:
    photos = [unique_photo(number) for number in range(3)]
    response = send(client, {"images": [base64.b64encode(photo).decode() for photo in photos]})
    assert response.status_code == 200
    expected = classifier.predict(photos)
    images = response.json()["images"]
    assert [image["faces"] for image in images] == [[face.to_dict()] for face in expected]
    assert {image["name"] for image in images} == {None}


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        ({"image": "!"}, {}, 400, "bad_request"),
        ({"image": "https://faces.example/a.jpg"}, {}, 400, "bad_request"),
        ({"image": "A" * 2000}, {}, 413, "too_large"),
        ({"image": TEXT}, {"Content-Type": "text/json"}, 415, "wrong_type"),
        ({"image": TEXT}, {"Content-Encoding": "gzip"}, 415, "wrong_type"),
        ({"image": TEXT}, {}, 422, "bad_image"),
        ({"image": ""}, {}, 422, "bad_image"),
    ],
)
def test_what_is_wrong_with_json_has_its_status(
    make_client: Callable[..., Any],
    body: object,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    response = send(make_client(max_body_bytes=1900), body, **headers)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_a_byte_order_mark_is_no_part_of_the_json() -> None:
    data = b"\xef\xbb\xbf" + json.dumps({"image": TEXT}).encode()
    assert images_from_json(data, max_images=1) == [DATA]
