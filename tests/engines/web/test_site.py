"""The folder of a model over HTTP: which files it gives out, and with which headers."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page
from typer.testing import CliRunner

from motivnet.child_process import isolated_module
from motivnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from motivnet_engines.browser.site import Site
from motivnet_engines.cli import app


@pytest.fixture(scope="module")
def site(web_folder: Path) -> Iterator[Site]:
    with Site(web_folder) as site, site.in_background():
        yield site


def ask(site: Site, path: str, *, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Ask for exactly this path; clients would tidy it up."""
    connection = http.client.HTTPConnection(urlsplit(site.url).netloc, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/motivnet.js?again", "text/javascript; charset=utf-8"),
        ("/motivnet.json", "application/json"),
        ("/ort/ort.wasm.min.mjs", "text/javascript; charset=utf-8"),
        ("/ort/ort-wasm-simd-threaded.wasm", "application/wasm"),
        ("/manifest.webmanifest", "application/manifest+json"),
        ("/model.onnx", "application/octet-stream"),
    ],
)
def test_a_file_comes_with_its_type_and_the_headers_of_an_isolated_page(
    site: Site, web_folder: Path, path: str, kind: str
) -> None:
    status, headers, content = ask(site, path)
    name = path.removeprefix("/").partition("?")[0] or "index.html"
    assert (status, headers["Content-Type"]) == (200, kind)
    assert content == (web_folder / name).read_bytes()
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    policy = headers["Content-Security-Policy"].split("; ")
    assert "default-src 'none'" in policy
    assert not re.search(r"unsafe-inline|'unsafe-eval'|https?:|\*", " ".join(policy))


def test_head_has_the_size_and_no_content(site: Site, web_folder: Path) -> None:
    status, headers, content = ask(site, "/model.onnx", method="HEAD")
    assert (status, content) == (200, b"")
    assert int(headers["Content-Length"]) == (web_folder / "model.onnx").stat().st_size


@pytest.mark.parametrize(
    "path",
    [
        "/reference.npz",  # it is there, and no page reads it
        "/blank.html",  # it is there, and nothing lists it
        "/../manifest.json",
        "/%2e%2e/manifest.json",
        "//etc/passwd",
        "/ort",
        "/ort/",
        "/model.onnx/",
        "/%00",
    ],
)
def test_nothing_else_is_given_out(site: Site, path: str) -> None:
    status, _, content = ask(site, path)
    assert (status, content) == (404, b"there is no such file\n")


def test_what_is_no_folder_for_the_browser_is_refused(
    fp32_artifact: Path, own_folder: Path
) -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"has no motivnet\.json; build one"):
        Site(fp32_artifact)
    for text, reason in (
        ('{"format": 2}', r"is of another version \(motivnet.json has format 2, .* reads 1\)"),
        ("[]", "cannot be read"),
        ("{", "cannot be read"),
        ('{"format": 1, "files": {}}', "names no files"),
    ):
        (own_folder / "motivnet.json").write_text(text)
        with pytest.raises(ArtifactError, match=reason):
            Site(own_folder)


def test_a_port_that_is_taken_is_named(site: Site, web_folder: Path) -> None:
    port = urlsplit(site.url).port
    with pytest.raises(ConfigError, match=f"port {port} is in use; choose another with --port"):
        Site(web_folder, port=port or 0)


def test_an_option_of_the_service_is_refused(web_folder: Path) -> None:
    result = CliRunner().invoke(app, ["serve", "--static", str(web_folder), "--host", "0.0.0.0"])
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == "--host is not for --static; leave it out"


@pytest.mark.browser
def test_the_page_runs_under_the_policy_with_threads_and_asks_nobody_else(
    site: Site, open_tab: Callable[..., Page]
) -> None:
    page = open_tab("about:blank")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site.url)
    page.wait_for_selector("html[data-verified=yes]")
    assert page.evaluate("crossOriginIsolated")
    assert {url.removeprefix(site.url) for url in asked} > {"", "page.js", "motivnet.js"}
    assert all(url.startswith((site.url, f"blob:{site.url}")) for url in asked)


@pytest.mark.process
def test_the_command_serves_until_ctrl_c(web_folder: Path) -> None:
    command = isolated_module("motivnet_engines", "serve", "--static", str(web_folder))
    with subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        [port] = re.findall(r"at http://127\.0\.0\.1:(\d+)/, to this machine alone", line)
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
        connection.request("GET", "/version.js")
        assert connection.getresponse().read() == (web_folder / "version.js").read_bytes()
        connection.close()
        os.kill(process.pid, signal.SIGINT)
        _, complaints = process.communicate(timeout=20)
    assert (process.returncode, complaints) == (0, "")
