"""Addresses as users write them: what is requested, and what of them is shown."""

from __future__ import annotations

import pytest

from motivnet.errors import ConfigError
from motivnet_engines.inference.web_address import address_from_text


@pytest.mark.parametrize(
    ("text", "url", "name"),
    [
        ("http://host", "http://host/", "http://host"),
        ("HTTP://Host:81/A.jpg#top", "http://host:81/A.jpg", "http://host:81/A.jpg"),
        ("http://[::1]:80/x", "http://[::1]:80/x", "http://[::1]:80/x"),
        ("http://h/a b.jpg", "http://h/a%20b.jpg", "http://h/a b.jpg"),
        ("http://h/a%20b.jpg", "http://h/a%20b.jpg", "http://h/a%20b.jpg"),
        ("https://bücher.org/ä?q=ü", "https://xn--bcher-kva.org/%C3%A4?q=%C3%BC", None),
        ("http://me:word@h/x", "http://h/x", "http://h/x"),
        ("http://h/x?id=3&w=640", "http://h/x?id=3&w=640", "http://h/x?id=3&w=640"),
        ("http://h/x?id=3&Token=s", "http://h/x?id=3&Token=s", "http://h/x?id=3&Token=..."),
        (
            "https://b.s3.org/x.jpg?X-Amz-Credential=s&X-Amz-Signature=s",
            "https://b.s3.org/x.jpg?X-Amz-Credential=s&X-Amz-Signature=s",
            "https://b.s3.org/x.jpg?X-Amz-Credential=...&X-Amz-Signature=...",
        ),
    ],
)
def test_an_address_is_requested_whole_and_shown_without_secrets(
    text: str, url: str, name: str | None
) -> None:
    address = address_from_text(text)
    assert address.url == url
    assert name is None or address.name == name


def test_user_and_password_are_kept_apart() -> None:
    assert address_from_text("http://me%40x:pass%3Aword@h/x").user == "me@x:pass:word"
    assert address_from_text("http://h/x").user is None


@pytest.mark.parametrize(
    "text", ["http://", "http:///x", "http://h:99999/", "http://a..b/", "file:///etc/passwd"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="an address has a host and a valid port"):
        address_from_text(text)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/photo.jpg?x=/b.png", "photo.jpg"),
        ("/a/..%2F..%2Fetc%2Fpasswd", "_.._etc_passwd"),
        ("/%00;rm -rf", "__rm_-rf"),
        ("/.hidden.png", "hidden.png"),
        ("/", "picture"),
        ("/" + "ä" * 300 + ".jpg", "ä" * 56 + ".jpg"),
    ],
)
def test_a_file_has_the_name_of_the_last_part_and_no_other_place(path: str, name: str) -> None:
    assert address_from_text(f"http://h{path}").file_name == name
