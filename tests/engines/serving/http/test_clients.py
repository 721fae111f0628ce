"""What common clients send, from the clients themselves: the forms of test_forms.py in use."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

Names = list[str | None]

pytestmark = pytest.mark.process


@pytest.fixture
def url(make_app: Callable[..., Any], running: Callable[..., Any]) -> Iterator[str]:
    """Where predictions are asked for."""
    with socket.create_server(("127.0.0.1", 0)) as listener, running(make_app(), listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/predict"


@pytest.fixture
def folder(tmp_path: Path, photo: bytes) -> Path:
    for name in ("a.png", "b.png", 'ü "x";y.png'):
        (tmp_path / name).write_bytes(photo)
    (tmp_path / "a.json").write_text(json.dumps({"images": [base64.b64encode(photo).decode()] * 2}))
    return tmp_path


def names(answer: str) -> Names:
    """The names of the images, all of which were read."""
    images = json.loads(answer)["images"]
    assert [image["error"] for image in images] == [None] * len(images)
    return [image["name"] for image in images]


def output(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("-F", "image=@a.png", "-F", "x=@b.png", "-F", "note=hello"), ["a.png", "b.png"]),
        (("-F", "images[]=@a.png", "-F", "images[]=@b.png"), ["a.png", "b.png"]),
        (("-F", "image=<a.png"), [None]),
        (("-F", 'f=@"ü \\"x\\";y.png"'), ["ü %22x%22;y.png"]),
        (("-F", "f=@a.png;filename=x.png;type=image/jpeg"), ["x.png"]),
        (("-F", "f=@a.png;encoder=base64"), ["a.png"]),
        (("-F", "f=@a.png", "-H", "Expect: 100-continue"), ["a.png"]),
        (("-F", "f=@a.png", "-H", "Transfer-Encoding: chunked"), ["a.png"]),
        (("--data-binary", "@a.png", "-H", "Content-Type: image/png"), [None]),
        (("--data-binary", "@a.json", "-H", "Content-Type: application/json"), [None, None]),
    ],
)
def test_curl(url: str, folder: Path, options: tuple[str, ...], expected: Names) -> None:
    assert names(output(folder, "curl", "-sS", *options, url)) == expected


def test_httpx(url: str, photo: bytes) -> None:
    encoded = base64.b64encode(photo).decode()
    for options, expected in (
        ({"files": {"image": photo}}, ["upload"]),
        ({"files": {"x": ("ü;€.png", photo)}}, ["ü;€.png"]),
        ({"files": {"image": (None, photo)}}, [None]),
        ({"files": [("images", ("a.png", photo))] * 3}, ["a.png"] * 3),
        ({"json": {"instances": [{"b64": encoded}]}}, [None]),
    ):
        assert names(httpx.post(url, **options).text) == expected  # type: ignore[arg-type]


SCRIPT = """
const data = require("fs").readFileSync("a.png"), url = process.argv[1];
const send = async (body) => console.log(await (await fetch(url, { method: "POST", body })).text());
const form = new FormData();
form.append("images[]", new Blob([data]));
form.append("images[]", new File([data], 'ü "x".png', { type: "image/png" }));
form.append("note", "hello");
send(form).then(() => send(new Blob([data], { type: "image/png" })));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_fetch_of_browsers_and_node(url: str, folder: Path) -> None:
    form, blob = output(folder, "node", "-e", SCRIPT, url).splitlines()
    assert names(form) == ["blob", "ü %22x%22.png"]
    assert names(blob) == [None]


def test_a_form_as_dotnet_writes_it(url: str, photo: bytes) -> None:
    head = b'--"b"\r\nContent-Type: image/png\r\nContent-Disposition: form-data; name=image; '
    head += b"filename=\"=?utf-8?B?w7wucG5n?=\"; filename*=utf-8''%C3%BC.png\r\n\r\n"
    body = head.replace(b'"b"', b"b") + photo + b"\r\n--b--\r\n"
    lines = [
        "POST /v1/predict HTTP/1.1",
        "Host: localhost",
        'Content-Type: multipart/form-data; boundary="b"',
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0)) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert names(answer.partition(b"\r\n\r\n")[2].decode()) == ["ü.png"]
